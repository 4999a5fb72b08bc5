"""Independent Gaussian variables over a whole event, kept by their log-scales.

torch.distributions' own forgets the logarithm that its scale was made from, takes it again in every density and
divergence, and needs a wrapper for the event. Of a small network's step those passes are a tenth.
"""

from __future__ import annotations

from math import log, pi
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    constraints,
    kl_divergence,
    register_kl,
)

from unveil.distributions.precision import wide


class DiagonalGaussian(Distribution):
    """Gaussian variables, independent of each other.

    Args:
        loc: (*batch, *event) means.
        log_scale: logarithms of the standard deviations, broadcasting with `loc`.
        event_dims: how many trailing dimensions are the event, at least 1.
        unit: of x, in which a head keeps the scale within bounds; it changes nothing here.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor, event_dims: int = 1, unit: Tensor | None = None) -> None:
        self.loc, self.log_scale, self.event_dims, self.unit = loc, log_scale, event_dims, unit
        self.scale = log_scale.exp()
        split = loc.dim() - event_dims
        super().__init__(loc.shape[:split], loc.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event)."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event)."""
        return self.scale.expand_as(self.loc)

    @property
    def variance(self) -> Tensor:
        """(*batch, *event)."""
        return self.stddev.square()

    def _sum(self, values: Tensor) -> Tensor:
        """Over the event, of `values` (*lead, *event)."""
        return values.flatten(-self.event_dims).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event) loc + scale * noise."""
        shape = torch.Size(sample_shape) + self.loc.shape
        noise = torch.randn(shape, device=self.loc.device, dtype=self.loc.dtype)
        return torch.addcmul(self.loc, self.scale, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` broadcasts against the batch."""
        squares = self._sum(((value - self.loc) / self.scale).square())
        volume = self._sum(self.log_scale.expand_as(self.loc)) + 0.5 * self.event_shape.numel() * log(2 * pi)
        return -0.5 * squares - volume

    def table(self, x: Tensor) -> Tensor:
        """(G, N) nats of every x (N, *event) under every distribution of the batch (G,): two products, in float64.

        The squares are multiplied out, x² / s² - 2 x m / s² + m² / s², and mostly cancel: float32 has no digits left for
        what remains of them.
        """
        loc, log_scale = (wide(part.expand_as(self.loc)).flatten(1) for part in (self.loc, self.log_scale))
        rows, precision = wide(x).flatten(1), (-2 * log_scale).exp()
        volume = (log_scale + 0.5 * loc.square() * precision).sum(-1, keepdim=True) + 0.5 * loc.shape[1] * log(2 * pi)
        with torch.autocast(loc.device.type, enabled=False):
            linear = torch.addmm(volume, loc * precision, rows.T, beta=-1)
            return linear.addmm_(precision, rows.square().T, alpha=-0.5)

    def log_probs(self, value: Tensor) -> Tensor:
        """(*batch, *event) nats of each variable by itself."""
        return -0.5 * ((value - self.loc) / self.scale).square() - self.log_scale - 0.5 * log(2 * pi)

    def detach(self) -> DiagonalGaussian:
        """The same distribution; no gradient reaches its parameters."""
        return DiagonalGaussian(self.loc.detach(), self.log_scale.detach(), self.event_dims)

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        size = self.event_shape.numel()
        return self._sum(self.log_scale.expand_as(self.loc)) + 0.5 * size * (1 + log(2 * pi))

    def entropies(self) -> Tensor:
        """(*batch, *event) nats of each variable by itself."""
        return (self.log_scale + 0.5 * (1 + log(2 * pi))).expand_as(self.loc)

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagonalGaussian:
        """The same distribution with its batch broadcast to `batch_shape`."""
        shape = (*batch_shape, *self.event_shape)
        return DiagonalGaussian(self.loc.expand(shape), self.log_scale.expand(shape), self.event_dims)


@register_kl(DiagonalGaussian, DiagonalGaussian)
def _divergence(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    ratio, gap = q.scale / p.scale, (q.loc - p.loc) / p.scale
    excess = q._sum(torch.addcmul(ratio.square(), gap, gap))
    widening = q._sum((q.log_scale - p.log_scale).expand_as(gap))
    return 0.5 * (excess - q.event_shape.numel()) - widening


@register_kl(Independent, DiagonalGaussian)
def _from_independent(q: Independent, p: DiagonalGaussian) -> Tensor:
    if not isinstance(q.base_dist, Normal) or q.event_shape != p.event_shape:
        raise NotImplementedError
    return kl_divergence(DiagonalGaussian(q.base_dist.loc, q.base_dist.scale.log(), len(q.event_shape)), p)


@register_kl(MultivariateNormal, DiagonalGaussian)
def _from_full(q: MultivariateNormal, p: DiagonalGaussian) -> Tensor:
    return kl_divergence(q, MultivariateNormal(p.loc, scale_tril=torch.diag_embed(p.stddev), validate_args=False))
