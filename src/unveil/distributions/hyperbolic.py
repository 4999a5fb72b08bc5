r"""The Poincaré ball of curvature -c, all z of :math:`R^D` shorter than :math:`1/\sqrt c`, and normals wrapped onto it.

Lengths at z are 2 / (1 - c |z|^2) times those of the picture, so the rim is infinitely far away. Tangent vectors are given
in an orthonormal frame, the one that parallel transport carries from the origin along the straight line: their length is
the distance travelled. Densities are with respect to hyperbolic volume, for priors and posteriors alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt, tanh
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.distributions.precision import wide
from unveil.distributions.surface import Surface

if TYPE_CHECKING:
    from unveil.distributions.ways import Way

EDGE = 14.0
"""Largest distance from the origin, in units of 1 / sqrt(c): further out float32 cannot tell points from the rim."""


def _length(vector: Tensor) -> Tensor:
    # the square root has a gradient at zero, where its factor vanishes
    return (vector.square().sum(-1, keepdim=True) + 1e-30).sqrt()


def from_tangent(tangent: Tensor, curvature: float) -> Tensor:
    """The points of the ball that are reached from the origin along `tangent` (*lead, D): the exponential map."""
    length = sqrt(curvature) * _length(tangent)
    return torch.tanh(length / 2) / length * tangent


def to_tangent(point: Tensor, curvature: float) -> Tensor:
    """How the points (*lead, D) are reached from the origin: the logarithm map. Points must be `inside`."""
    length = sqrt(curvature) * _length(point)
    return 2 * torch.atanh(length.clamp(max=1 - 1e-13)) / length * point


def inside(point: Tensor, curvature: float) -> Tensor:
    """Points (*lead, D) no further out than `EDGE`."""
    limit = tanh(EDGE / 2) / sqrt(curvature)
    return point * (limit / _length(point)).clamp(max=1)


def add(x: Tensor, y: Tensor, curvature: float) -> Tensor:
    """The isometry that takes the origin to x, applied to y: Möbius addition."""
    product = 2 * curvature * (x * y).sum(-1, keepdim=True)
    squares = [curvature * part.square().sum(-1, keepdim=True) for part in (x, y)]
    return ((1 + product + squares[1]) * x + (1 - squares[0]) * y) / (1 + product + squares[0] * squares[1])


@dataclass(frozen=True)
class Geodesic:
    """The shortest way between two points of a ball: an arc that meets the rim at right angles, walked at an even pace.

    Attributes:
        curvature: c, positive: the ball's curvature is -c.
    """

    curvature: float
    name: ClassVar[str] = "geodesic"

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        tangent = to_tangent(add(-wide(a), wide(b), self.curvature), self.curvature)
        return add(wide(a), from_tangent(t * tangent, self.curvature), self.curvature).to(a.dtype)


@dataclass(frozen=True)
class Ball(Surface):
    """The Poincaré ball of a curvature -c.

    Attributes:
        curvature: c, positive.
    """

    curvature: float

    @property
    def radius(self) -> float:
        """How long z may be, which is less than 1 / sqrt(c) by what float32 can tell."""
        return tanh(EDGE / 2) / sqrt(self.curvature)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The geodesic."""
        return (Geodesic(self.curvature),)

    def check(self, value: Tensor) -> Tensor:
        return self.curvature * value.square().sum(-1) < 1

    def project(self, z: Tensor) -> Tensor:
        return inside(z, self.curvature)


class HyperbolicNormal(Distribution):
    r"""A Gaussian of the tangent space at a point, wrapped onto the ball.

    .. math:: \log q(z) = \log \mathcal N(v; 0, \sigma^2) - (D - 1) \log \frac{\sinh(\sqrt c |v|)}{\sqrt c |v|}

    with v the tangent vector that leads from the point to z. Draws are reparameterised, and their gradient is unbiased.
    As c vanishes, 2 z becomes Gaussian. The geometry is done in float64, since float32 has few digits near the rim. Draws
    further than `EDGE` from the origin are brought back to it, where the density is no longer theirs; posteriors and priors
    from `unveil.parts` have less than one in a million there.

    Args:
        loc: (*batch, D) points of the ball.
        log_scale: (*batch, D) logarithms of the standard deviations of v, which are distances.
        curvature: c, positive.

    Source: Nagano et al. 2019, A Wrapped Normal Distribution on Hyperbolic Space, arXiv:1902.02992; Mathieu et al. 2019,
    Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders, arXiv:1901.06033.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor, curvature: float) -> None:
        self.loc, self.log_scale, self.curvature = loc, log_scale, curvature
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def support(self) -> Ball:
        """The ball."""
        return Ball(self.curvature)

    @property
    def mean(self) -> Tensor:
        """(*batch, D) the point around which it is wrapped, which is the hyperbolic mean."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """(*batch, D) standard deviations of v: distances, not coordinates of the ball."""
        return self.log_scale.exp().expand_as(self.loc)

    @property
    def variance(self) -> Tensor:
        """(*batch, D)."""
        return self.stddev.square()

    def _density(self, noise: Tensor, tangent: Tensor) -> Tensor:
        """Nats of a tangent vector that is the noise times the scale."""
        size, length = self.event_shape[0], sqrt(self.curvature) * _length(tangent).squeeze(-1)
        # log(sinh(x) / x), which neither overflows nor divides by zero
        stretch = length + (torch.expm1(-2 * length) / (-2 * length)).log()
        normal = -0.5 * noise.square().sum(-1) - wide(self.log_scale).expand_as(self.loc).sum(-1) - 0.5 * size * log(2 * pi)
        return (normal - (size - 1) * stretch).to(self.loc.dtype)

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """(*sample_shape, *batch, D) draws and their (*sample_shape, *batch) nats, without the way back to v."""
        noise = torch.randn(self._extended_shape(sample_shape), device=self.loc.device, dtype=self.loc.dtype)
        noise = wide(noise)
        tangent = noise * wide(self.log_scale).exp()
        z = add(wide(self.loc), from_tangent(tangent, self.curvature), self.curvature)
        return inside(z, self.curvature).to(self.loc.dtype), self._density(noise, tangent)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, D)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats with respect to hyperbolic volume; `value` broadcasts against the batch."""
        way = add(-wide(self.loc), inside(wide(value), self.curvature), self.curvature)
        tangent = to_tangent(way, self.curvature)
        return self._density(tangent / wide(self.log_scale).exp(), tangent)

    def detach(self) -> HyperbolicNormal:
        """The same distribution; no gradient reaches its parameters."""
        return HyperbolicNormal(self.loc.detach(), self.log_scale.detach(), self.curvature)

    def expand(self, batch_shape: Any, _instance: Any = None) -> HyperbolicNormal:
        """The same distribution with its batch broadcast to `batch_shape`."""
        shape = torch.Size(batch_shape) + self.event_shape
        return HyperbolicNormal(self.loc.expand(shape), self.log_scale.expand(shape), self.curvature)
