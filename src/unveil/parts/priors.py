"""Priors p(z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head


class Standard(Part):
    """The standard normal prior, which learns nothing.

    Args:
        event_shape: shape of one z, or the number D of dimensions of a vector.

    Example:
        >>> import torch
        >>> from unveil.parts import Standard
        >>> Standard(2)().log_prob(torch.zeros(2))  # -log 2 pi
        tensor(-1.8379)
    """

    zeros: Tensor

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if min(self.event_shape, default=0) < 1:
            raise SettingError(f"a prior over shape {self.event_shape} has no dimensions; give positive numbers")
        self.register_buffer("zeros", torch.zeros(self.event_shape))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return DiagonalGaussian(self.zeros, self.zeros, len(self.event_shape))


class Conditioned(Part):
    """p(z|c): a prior whose parameters a network computes from the context.

    Args:
        network: any module from (N, C) to (N, *parameters).
        head: what makes those parameters a distribution.
    """

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        if context is None:
            raise SettingError("a conditioned prior needs a context; load the data with one, or take Standard()")
        distribution: Distribution = self.head(self.network(context))
        return distribution
