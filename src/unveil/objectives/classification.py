"""What a classifier inside a model learns from the labels that are known."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


@runtime_checkable
class Classifies(Protocol):
    """A model with a classifier q(y|x)."""

    def classify(self, x: Tensor) -> Tensor:
        """(B, C) log q(y|x)."""
        ...


class Classification(Term):
    r"""The cross-entropy of q(y|x) on the examples whose label is known.

    .. math:: -w \log q(y|x) \text{ where labelled, else } 0

    The bound of a labelled example does not contain q(y|x), which would learn from the others alone. The labels are the
    batch's context, one-hot; without one the term is zero. To count a mean over the labelled as alpha times a mean over
    all, as the source does with alpha = 0.1, take w = alpha N / (number of labelled).

    Args:
        weight: w, at least 0.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: a negative weight, or a model without a classifier.

    Source: Kingma et al. 2014, Semi-supervised Learning with Deep Generative Models, arXiv:1406.5298, equation 9.
    """

    reads_z = False

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise SettingError(f"a cross-entropy cannot count {weight} times; give at least 0")
        self.weight = weight

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        if not isinstance(model, Classifies):
            raise SettingError(f"{type(model).__name__} has no classifier q(y|x); take SemiSupervised, or leave this out")
        batch = draw.batch
        if batch.context is None:
            return torch.zeros_like(draw.log_px[0])
        cost = -(batch.context * model.classify(batch.x)).sum(-1) * self.weight
        return cost if batch.labelled is None else torch.where(batch.labelled, cost, 0.0)
