"""Numbers that state what they are: a value, its unit, how many it is over, and how sure it is."""

from unveil.evaluation.bound import bound, in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.machine import matrix_rate, operations
from unveil.evaluation.nats import Nats, Watcher, evaluate

__all__ = ["Figure", "Nats", "Watcher", "bound", "evaluate", "in_evaluation", "matrix_rate", "operations"]
