"""Every part in a working composition, and every distribution beside a reference: for test_every_part.py."""

from cases.case import Case, Density

__all__ = ["Case", "Density"]
