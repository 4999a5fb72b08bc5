"""The one loop, its schedules, and the state of a run. The configuration imports no torch; ask for the rest by module."""

from unveil.training.config import Precision, Schedule, Training

__all__ = ["Precision", "Schedule", "Training"]
