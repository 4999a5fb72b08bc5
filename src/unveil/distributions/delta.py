"""All mass on one point."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from unveil.errors import SettingError

INFINITE = "the rate is infinite under a Delta posterior; use Norm() or Mmd() instead of Rate(), and no importance weights"


class Delta(Distribution):
    """A point, and no density.

    Args:
        loc: (*batch, *event).
        event_dims: how many trailing dimensions are the event.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, event_dims: int = 1) -> None:
        self.loc = loc
        split = loc.dim() - event_dims
        super().__init__(loc.shape[:split], loc.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event) the point."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event) zeros."""
        return torch.zeros_like(self.loc)

    @property
    def variance(self) -> Tensor:
        """(*batch, *event) zeros."""
        return torch.zeros_like(self.loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event) the point, each time."""
        return self.loc.expand(torch.Size(sample_shape) + self.loc.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises SettingError: there is no density."""
        raise SettingError(INFINITE)


@register_kl(Delta, Distribution)
def _divergence(q: Delta, p: Distribution) -> Tensor:
    raise SettingError(INFINITE)
