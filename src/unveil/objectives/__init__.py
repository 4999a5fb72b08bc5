"""Objectives read draws: terms that add and scale to a loss."""

from unveil.objectives.elbo import Distortion, Rate
from unveil.objectives.importance import Iwae
from unveil.objectives.term import MODEL, Loss, Scaled, Sum, Term, Warmup

__all__ = ["MODEL", "Distortion", "Iwae", "Loss", "Rate", "Scaled", "Sum", "Term", "Warmup"]
