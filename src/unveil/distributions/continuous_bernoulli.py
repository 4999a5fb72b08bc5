"""The continuous Bernoulli: a density on [0, 1], and so a likelihood of gray values in place of the cross-entropy.

It is the uniform density tilted by exp(l x). Near l = 0 its mean and variance are differences of large numbers, and are
summed as series there: torch.distributions' own loses digits in float32 at the seam between the two.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

SMALL = 0.5
"""Below this |logit| the series are exact to float32: the first term left out is below 1e-9 of the sum."""


def _mean(logits: Tensor) -> Tensor:
    small = logits.abs() < SMALL
    near, far = torch.where(small, logits, 0), torch.where(small, 1, logits)  # each is kept where the other is used
    square = near.square()
    series = near * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
    return 0.5 + torch.where(small, series, 0.5 / torch.tanh(far / 2) - 1 / far)


class _LogDensity(torch.autograd.Function):
    """x l - log((e^l - 1) / l), whose derivative by l is x - E[x]: the derivative of the closed form loses its digits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        size = logits.abs().clamp_(min=1e-30)
        excess = torch.expm1(-size).neg_().div_(size).log_()
        # the end at which the density is largest is subtracted from x: no digits are lost in x l - l
        return (x - (logits > 0).to(x.dtype)) * logits - excess

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        for_logits = (grads[0] * (x - _mean(logits))).sum_to_size(logits.shape) if ctx.needs_input_grad[0] else None
        for_x = (grads[0] * logits).sum_to_size(x.shape) if ctx.needs_input_grad[1] else None
        return for_logits, for_x


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

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` in [0, 1] broadcasts against the batch."""
        log_p: Tensor = _LogDensity.apply(self.logits, value)
        return log_p

    @property
    def mean(self) -> Tensor:
        """(*batch) E[x], which is the sigmoid of the logit nowhere but at 0."""
        return _mean(self.logits)

    @property
    def variance(self) -> Tensor:
        """(*batch)."""
        size = self.logits.abs()
        square, far = size.clamp(max=SMALL).square(), size.clamp(min=SMALL)
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172800))
        return torch.where(size < SMALL, series, far**-2 - (torch.exp(-far / 2) / torch.expm1(-far)).square())

    def entropy(self) -> Tensor:
        """(*batch) nats: minus the log-density, which is linear in x, at the mean."""
        return -self.log_prob(self.mean)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) by the inverse of the distribution function."""
        size = self.logits.abs().clamp(min=1e-5)
        shape = torch.Size(sample_shape) + self.batch_shape
        uniform = torch.rand(shape, device=size.device, dtype=size.dtype)
        # towards 0, where floats are dense, then mirrored
        x = (-torch.log1p(uniform * torch.expm1(-size)) / size).clamp(0, 1)
        return torch.where(self.logits < 0, x, 1 - x)
