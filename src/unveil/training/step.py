"""One training step as a function of the batch and the time: what is compiled, captured and replicated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unveil.data import Batch
from unveil.models import Draw, Model
from unveil.objectives import Term

FIGURES = ("loss", "distortion", "rate")
"""What a step reports, in this order: means over the batch, nats per example."""


class Step(nn.Module):
    """Draw, then loss.

    Args:
        model: what makes the draw.
        objective: what reads it.
    """

    def __init__(self, model: Model, objective: Term) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch, t: Tensor) -> tuple[Mapping[str, Tensor], Draw]:
        """Scalars in nats per example ('loss', which carries the gradient, 'distortion' and 'rate') and the draw."""
        draw = self.model.draw(batch, self.objective.samples)
        loss: Tensor = self.objective(draw, self.model, t).mean()
        with torch.no_grad():
            figures = {"loss": loss, "distortion": draw.distortion.mean(), "rate": draw.rate.mean()}
        return figures, draw
