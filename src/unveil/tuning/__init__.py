"""Tuning: settings of a recipe tried by Optuna, and which of them are better than others by differences that are real."""

from unveil.tuning.report import Trial, Tuned
from unveil.tuning.sweep import tune

__all__ = ["Trial", "Tuned", "tune"]
