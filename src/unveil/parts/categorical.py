"""Latent variables that are one-hot: a posterior head with the Gumbel-softmax gradient, and the uniform prior."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import GumbelOneHot
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head
from unveil.words import counted

if TYPE_CHECKING:
    from unveil.data import Split


class OneHot(Head):
    r"""Independent one-hot variables; the parameters (*lead, D * C) are their logits.

    The pathwise gradient is the straight-through Gumbel-softmax one, which is biased; `ScoreFunction` has an unbiased
    one for the same head. The temperature falls from epoch to epoch, at time t to

    .. math:: \max(\text{lowest}, \text{temperature} \cdot e^{-\text{anneal} \cdot t})

    Args:
        dimensions: D, at least 1.
        classes: C, at least 2.
        temperature: to begin with, positive.
        lowest: where the temperature stops to fall, positive.
        anneal: how fast it falls, per epoch; 0 for not at all.

    Source: Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, arXiv:1611.00712.
    """

    heat: Tensor

    def __init__(
        self, dimensions: int, classes: int, temperature: float = 1.0, lowest: float = 0.5, anneal: float = 0.0
    ) -> None:
        super().__init__()
        _check(dimensions, classes)
        if not (temperature > 0 and lowest > 0):
            raise SettingError(f"a temperature cannot be {temperature} or fall to {lowest}; give positive numbers")
        if anneal < 0:
            raise SettingError(f"a temperature cannot fall by {anneal}; give 0 to keep it where it is")
        self.dimensions, self.classes = dimensions, classes
        self.temperature, self.lowest, self.anneal = temperature, lowest, anneal
        self.register_buffer("heat", torch.tensor(float(temperature)))

    def forward(self, parameters: Tensor) -> Distribution:
        return GumbelOneHot(parameters.float().unflatten(-1, (self.dimensions, self.classes)), self.heat)

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (self.dimensions * self.classes,)

    @torch.no_grad()
    def prepare(self, data: Split, t: float) -> None:
        """Cool down to the temperature of time `t` in epochs; one that begins below the lowest stays where it is."""
        cooled = max(min(self.lowest, self.temperature), self.temperature * exp(-self.anneal * t))
        self.heat.fill_(cooled)


class UniformOneHot(Part):
    """The prior under which every class of every variable is as likely as any other.

    Args:
        dimensions: D, how many variables.
        classes: C of each.
    """

    zeros: Tensor

    def __init__(self, dimensions: int, classes: int) -> None:
        super().__init__()
        _check(dimensions, classes)
        self.dimensions, self.classes = dimensions, classes
        self.register_buffer("zeros", torch.zeros(dimensions, classes))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return GumbelOneHot(self.zeros)


def _check(dimensions: int, classes: int) -> None:
    if dimensions < 1 or classes < 2:
        raise SettingError(
            f"{counted(dimensions, 'variable')} of {counted(classes, 'class', 'classes')} say nothing; give at least 1 "
            "variable and 2 classes"
        )
