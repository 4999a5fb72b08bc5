"""The continuous Bernoulli: a density on [0, 1], and so a likelihood of gray values in place of the cross-entropy.

It is the uniform density tilted by exp(l x). Near l = 0 its normaliser, mean and variance are differences of large
numbers, and are summed as series there: torch.distributions' own loses digits in float32 at the seam between the two.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

SMALL = 0.5
"""Below this |logit| the series are exact to float32: the first term left out is below 1e-9 of the sum."""


class TiltedUniform(Distribution):
    r"""One continuous Bernoulli variable.

    .. math:: p(x) = \lambda^x (1 - \lambda)^{1-x} C(\lambda) = \frac{l e^{l x}}{e^l - 1}, \quad l = \mathrm{logit} \lambda

    Args:
        logits: (*batch) l; 0 is the uniform density.

    Source: Loaiza-Ganem & Cunningham 2019, The Continuous Bernoulli, arXiv:1907.06845.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the series hold, l for them, and l for the closed forms; each is kept where the other is used."""
        series = self.logits.abs() < SMALL
        return series, torch.where(series, self.logits, 0), torch.where(series, 1, self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` in [0, 1] broadcasts against the batch."""
        series, small, large = self._split()
        square = small.square()
        near = small * (value - 0.5) - square * (1 / 24 - square * (1 / 2880 - square / 181440))
        size = large.abs()
        far = large * value - torch.relu(large) - torch.log(-torch.expm1(-size) / size)
        return torch.where(series, near, far)

    @property
    def mean(self) -> Tensor:
        """(*batch) E[x], which is the sigmoid of the logit nowhere but at 0."""
        series, small, large = self._split()
        square = small.square()
        near = 0.5 + small * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
        return torch.where(series, near, 0.5 + 0.5 / torch.tanh(large / 2) - 1 / large)

    @property
    def variance(self) -> Tensor:
        """(*batch)."""
        series, small, large = self._split()
        square, size = small.square(), large.abs()
        near = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172800))
        return torch.where(series, near, size**-2 - (torch.exp(-size / 2) / -torch.expm1(-size)).square())

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) by the inverse of the distribution function."""
        size = self.logits.abs().clamp(min=1e-5)
        shape = torch.Size(sample_shape) + self.batch_shape
        uniform = torch.rand(shape, device=size.device, dtype=size.dtype)
        # towards 0, where floats are dense, then mirrored
        x = (-torch.log1p(uniform * torch.expm1(-size)) / size).clamp(0, 1)
        return torch.where(self.logits < 0, x, 1 - x)
