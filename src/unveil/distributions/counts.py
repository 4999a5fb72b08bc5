r"""Counts: Poisson and negative binomial variables that stay exact where they are large.

The usual formulas subtract log-gammas, which at a count of 10,000 leaves an error of hundredths of a nat in float32. Here
every log-gamma is written by Stirling, log Γ(a) = (a - 1/2) log a - a + log √2π + δ(a), the large terms are cancelled on
paper, and what remains is of the size of the result.
"""

from __future__ import annotations

from math import log, pi
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

ROOT = 0.5 * log(2 * pi)
MOST = 1e9
"""The largest rate that is drawn from: CUDA's Poisson counts to 2**32."""


def remainder(a: Tensor) -> Tensor:
    """δ(a), what Stirling's formula leaves of log Γ(a), a > 0; near 1 / 12 a for large a."""
    low, high = a.clamp(max=8), a.clamp(min=8)
    exact = torch.lgamma(low) - (low - 0.5) * low.log() + low - ROOT
    inverse = 1 / high
    square = inverse.square()
    return torch.where(a < 8, exact, inverse * (1 / 12 - square * (1 / 360 - square / 1260)))


def log_ratio(a: Tensor, b: Tensor, difference: Tensor) -> Tensor:
    """log(a / b), given `difference` = a - b, which says more than a and b where they are nearly the same."""
    small = difference / b
    near = small.abs() < 0.5
    return torch.where(near, torch.log1p(torch.where(near, small, 0)), (a / b).log())


def log_gamma_sample(a: Tensor) -> Tensor:
    """log g of g ~ Gamma(a, 1), even where g itself is 0 in float32."""
    uniform = torch.rand(a.shape, device=a.device, dtype=a.dtype).clamp(min=torch.finfo(a.dtype).tiny)
    return torch._standard_gamma(a + 1).log() + uniform.log() / a


def _poisson(rate: Tensor) -> Tensor:
    return torch.poisson(rate.clamp(max=MOST))


class CountPoisson(Distribution):
    r"""A Poisson variable.

    .. math:: \log p(x) = x \log(r / x) + x - r - \log \sqrt{2 \pi x} - \delta(x), \quad \log p(0) = -r

    Args:
        log_rate: (*batch) log r.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, log_rate: Tensor) -> None:
        self.rate = log_rate.exp()
        super().__init__(log_rate.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, integers from 0, broadcasts against the batch."""
        positive = value > 0
        x = torch.where(positive, value, 1)
        rate = self.rate
        some = (x - rate) - x * log_ratio(x, rate, x - rate) - 0.5 * x.log() - ROOT - remainder(x)
        return torch.where(positive, some, -rate)

    @property
    def mean(self) -> Tensor:
        """(*batch) r."""
        return self.rate

    @property
    def variance(self) -> Tensor:
        """(*batch) r."""
        return self.rate

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) float counts."""
        return _poisson(self.rate.expand(torch.Size(sample_shape) + self.batch_shape))


class CountNegativeBinomial(Distribution):
    r"""A negative binomial variable, by its mean: a Poisson variable whose rate is itself Gamma-distributed.

    .. math:: p(x) = \frac{\Gamma(x + k)}{\Gamma(k)\, x!} \Big(\frac{k}{k + m}\Big)^k \Big(\frac{m}{k + m}\Big)^x

    Args:
        log_mean: (*batch) log m.
        log_shape: logarithm of k, broadcasting with `log_mean`; the variance is m + m² / k.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, log_mean: Tensor, log_shape: Tensor) -> None:
        self.log_mean, self.log_shape = torch.broadcast_tensors(log_mean, log_shape)
        super().__init__(self.log_mean.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, integers from 0, broadcasts against the batch."""
        m, k = self.log_mean.exp(), self.log_shape.exp()
        positive = value > 0
        x = torch.where(positive, value, 1)
        some = x * log_ratio(m * (x + k), x * (m + k), k * (m - x)) + k * log_ratio(x + k, m + k, x - m)
        some = some + 0.5 * (k / (x + k) / x).log() - ROOT + remainder(x + k) - remainder(k) - remainder(x)
        return torch.where(positive, some, -k * torch.log1p(m / k))

    @property
    def mean(self) -> Tensor:
        """(*batch) m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """(*batch) m + m² / k."""
        return self.mean + (2 * self.log_mean - self.log_shape).exp()

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) float counts."""
        shape = torch.Size(sample_shape) + self.batch_shape
        log_rate = log_gamma_sample(self.log_shape.exp().expand(shape)) + self.log_mean - self.log_shape
        return _poisson(log_rate.exp())
