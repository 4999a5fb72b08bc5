"""What is wrong with data, or with a run: findings with their evidence, and what to change."""

from unveil.doctor.data import examine_data
from unveil.doctor.finding import Finding, Severity
from unveil.doctor.nonfinite import NonFinite, first_nonfinite
from unveil.doctor.run import examine_records, examine_run

__all__ = ["Finding", "NonFinite", "Severity", "examine_data", "examine_records", "examine_run", "first_nonfinite"]
