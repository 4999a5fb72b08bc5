"""Priors p(z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.part import Part


class Standard(Part):
    """The standard normal prior, which learns nothing.

    Args:
        event_shape: shape of one z, or the number D of dimensions of a vector.
    """

    zeros: Tensor

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if min(self.event_shape, default=0) < 1:
            raise SettingError(f"a prior over shape {self.event_shape} has no dimensions; give positive numbers")
        self.register_buffer("zeros", torch.zeros(self.event_shape))

    def forward(self, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return DiagonalGaussian(self.zeros, self.zeros, len(self.event_shape))
