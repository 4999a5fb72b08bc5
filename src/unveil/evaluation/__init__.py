"""Numbers that state what they are: a value, its unit, how many it is over, and how sure it is."""

from unveil.evaluation.bound import bound, in_evaluation
from unveil.evaluation.encoding import encoded
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.nats import Nats, Point, evaluate
from unveil.evaluation.machine import matrix_rate, operations
from unveil.evaluation.report import Report, report
from unveil.evaluation.sections import SECTIONS, Section, Subject
from unveil.evaluation.watching import Ledger, Watcher

__all__ = [
    "SECTIONS",
    "Figure",
    "Ledger",
    "Nats",
    "Point",
    "Report",
    "Section",
    "Subject",
    "Watcher",
    "bound",
    "encoded",
    "evaluate",
    "in_evaluation",
    "matrix_rate",
    "operations",
    "report",
]
