"""Latent variables on the unit sphere of R^m: a von Mises-Fisher posterior and a uniform prior."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from unveil.distributions import SphericalUniform, SphericalVonMisesFisher
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head, bounded
from unveil.words import counted

SPREAD = 9.0
"""Concentrations lie between exp(-SPREAD) and exp(SPREAD) times the number of dimensions."""


def _checked(dimensions: int) -> int:
    if dimensions < 2:
        raise SettingError(f"a sphere in {counted(dimensions, 'dimension')} is no more than two points; give at least 2")
    return dimensions


class VonMisesFisher(Head):
    """A direction around a predicted one, with a predicted concentration.

    Of the parameters (*lead, m + 1) the first m are the mean direction, at any length; the last is the concentration's
    logarithm, which begins at log(m), where a draw begins to say something about its mean direction.

    Args:
        dimensions: m, at least 2; the sphere itself has m - 1.

    Raises:
        SettingError: fewer dimensions.

    Source: Davidson et al. 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = _checked(dimensions)

    def forward(self, parameters: Tensor) -> Distribution:
        if parameters.shape[-1] != self.dimensions + 1:
            needed, given = self.dimensions + 1, parameters.shape[-1]
            raise SettingError(f"VonMisesFisher({self.dimensions}) takes {needed} parameters; the network gave {given}")
        direction, raw = parameters.float().split([self.dimensions, 1], -1)
        largest = direction.detach().abs().amax(-1, keepdim=True)
        # squares neither overflow nor vanish; a zero vector points along the first axis
        first = F.one_hot(torch.zeros_like(largest[..., 0], dtype=torch.long), self.dimensions).to(direction)
        loc = F.normalize(torch.where(largest > 1e-30, direction / largest.clamp(min=1e-30), first), dim=-1)
        return SphericalVonMisesFisher(loc, (log(self.dimensions) + bounded(raw.squeeze(-1), SPREAD)).exp())

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (self.dimensions + 1,)


class UniformSphere(Part):
    """The prior for which all directions are alike, which learns nothing.

    Args:
        dimensions: m, at least 2; the sphere itself has m - 1.

    Raises:
        SettingError: fewer dimensions.
    """

    zeros: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = _checked(dimensions)
        self.register_buffer("zeros", torch.zeros(dimensions))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return SphericalUniform(self.zeros)
