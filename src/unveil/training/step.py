"""One training step as a function of the batch and the time: what is compiled, captured and replicated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives import MODEL, Loss, Term
from unveil.part import Part

FIGURES = ("loss", "distortion", "rate")
"""What a step reports, in this order: means over the batch, nats per example; a rate that is infinite is no number."""


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

    def forward(self, batch: Batch, t: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Draw]:
        """A scalar loss for each player, which carry gradient; figures, which do not; and the draw."""
        draw = self.draw(batch)
        return *self.weigh(draw, t), draw

    def draw(self, batch: Batch) -> Draw:
        """The draw that the objective wants."""
        return self.model.draw(batch, self.objective.samples or 1, self.objective.gradient or "pathwise")

    def weigh(self, draw: Draw, t: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the objective makes of a draw: losses and figures as `forward` gives them."""
        loss: Loss = self.objective(draw, self.model, t)
        losses = {MODEL: loss.mean()} if isinstance(loss, Tensor) else {name: one.mean() for name, one in loss.items()}
        with torch.no_grad():
            rate = draw.rate.mean() if draw.rated else torch.full_like(losses[MODEL], torch.nan)
            figures = {"loss": losses[MODEL].detach(), "distortion": draw.distortion.mean(), "rate": rate}
        return losses, figures

    def moving(self) -> list[Part]:
        """The parts that take in the draw of each step."""
        return [part for part in self.modules() if isinstance(part, Part) and type(part).update is not Part.update]

    def drifting(self) -> list[Tensor]:
        """Buffers of foreign layers, which move them in a forward pass: when a step is undone they are put back."""
        norms = [m for m in self.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase)]
        return [buffer for norm in norms for buffer in norm.buffers()]

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Whose weights follow which loss; every trained weight belongs to exactly one player.

        Raises:
            SettingError: two players claim the same weights.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        named = {name: list(part) for name, part in self.objective.players(self.model).items()}
        claimed = [id(parameter) for part in named.values() for parameter in part]
        if len(set(claimed)) < len(claimed):
            raise SettingError(f"two of the players {', '.join(named)} claim the same weights; leave them to one")
        return {**named, MODEL: [parameter for parameter in trained if id(parameter) not in set(claimed)]}
