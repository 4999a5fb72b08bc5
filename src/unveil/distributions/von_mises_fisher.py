r"""Distributions on the unit sphere :math:`S^{m-1}` of :math:`R^m`, as densities with respect to its area.

A von Mises-Fisher variable z lies at an angle theta from its mean direction, in a tangent direction that is uniform. The
angle's density is proportional to exp(kappa cos theta) sin^(m-2) theta: one smooth integral over [0, pi], which Gauss and
Legendre's rule does to ten digits for any kappa and m up to a few hundred. Normaliser, moments and gradients are all taken
from it, hence no Bessel functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt, lgamma, log, pi, sqrt
from typing import Any, ClassVar

import numpy
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn import functional as F

from unveil.distributions.precision import wide
from unveil.distributions.surface import Surface
from unveil.distributions.ways import Spherical, Way

REACH = 9.0
"""How many standard deviations of an angle are integrated: what is beyond weighs exp(-40)."""


@dataclass(frozen=True)
class Sphere(Surface):
    """All z of length 1."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The great circle."""
        return (Spherical(),)

    def check(self, value: Tensor) -> Tensor:
        return (value.norm(dim=-1) - 1).abs() < 1e-3

    def project(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1)


@cache
def _rule(dimensions: int) -> tuple[list[float], list[float]]:
    """Gauss and Legendre's nodes in (0, 1) and their weights, as many as the narrowest angle's law asks for."""
    nodes, weights = numpy.polynomial.legendre.leggauss(48 + 4 * isqrt(dimensions))
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


def log_area(dimensions: int) -> float:
    """Logarithm of the area of the unit sphere in `dimensions` = m >= 1: 2 points, a circle's 2 pi, 4 pi, ..."""
    return log(2) + 0.5 * dimensions * log(pi) - lgamma(0.5 * dimensions)


def profile(kappa: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    r"""What the angle's law comes to: its normaliser and the mean of 1 - cos(theta).

    .. math:: \kappa - \log E_{\mathrm{uniform}}\, e^{\kappa \cos\theta}
        \quad\mathrm{and}\quad 1 - I_{m/2}(\kappa) / I_{m/2-1}(\kappa)

    Neither loses digits at either end: the first is 0 at kappa = 0 and grows as (m - 1) / 2 log(kappa), and the gradient of
    the first is the second.

    Args:
        kappa: (*batch) concentrations, at least 0, in float64.
        dimensions: m, at least 2.

    Returns:
        (*batch) twice, with gradients.
    """
    with torch.no_grad():
        # 2 sin(theta/2) sqrt(kappa) stays below a chi variable of m - 1 degrees of freedom, or very nearly
        width = (sqrt(dimensions - 1) + REACH) / (2 * kappa.sqrt())
        upper = 2 * torch.asin(width.clamp(max=1)).unsqueeze(-1)
        nodes, weights = (kappa.new_tensor(part) for part in _rule(dimensions))
        angles = upper * nodes
        versine = 2 * torch.sin(angles / 2).square()
        log_uniform = (upper * weights).log() + (dimensions - 2) * angles.sin().log()
        log_uniform -= log_area(dimensions) - log_area(dimensions - 1)
    masses = log_uniform - kappa.unsqueeze(-1) * versine
    return -masses.logsumexp(-1), (masses.softmax(-1) * versine).sum(-1)


@torch.no_grad()
def _slope(theta: Tensor, kappa: Tensor, dimensions: int) -> Tensor:
    r"""How an angle moves with kappa at a fixed value of its distribution function F, whose density is f.

    .. math:: \frac{d\theta}{d\kappa} = -\frac{\partial F / \partial\kappa}{f(\theta)}
        = -\int_0^\theta (\cos\phi - E\cos\theta) \frac{f(\phi)}{f(\theta)} d\phi

    The integral over the whole of [0, pi] is zero, so the side of theta that lies away from the mode may be taken, where
    the ratio is below 1. Both arguments broadcast, in float64.
    """
    power = dimensions - 2
    root = (power**2 + 4 * kappa.square()).sqrt()
    mode = (power + power**2 / (root + 2 * kappa)) / (power + root)  # 1 - cos of it
    theta = theta.clamp(1e-12, pi - 1e-7)
    half = torch.sin(theta / 2)
    left = 2 * half.square() < mode
    upper = 2 * torch.asin((half + REACH / (2 * kappa.sqrt())).clamp(max=1))
    start = torch.where(left, 0, theta).unsqueeze(-1)
    length = torch.where(left, theta, upper - theta).unsqueeze(-1)
    nodes, weights = (kappa.new_tensor(part) for part in _rule(dimensions))
    phi, theta = start + length * nodes, theta.unsqueeze(-1)
    ratio = -2 * kappa.unsqueeze(-1) * torch.sin((phi + theta) / 2) * torch.sin((phi - theta) / 2)
    ratio = (ratio + power * (phi.sin().clamp(min=1e-300) / theta.sin()).log()).exp()
    excess = profile(kappa, dimensions)[1].unsqueeze(-1) - 2 * torch.sin(phi / 2).square()  # cos(phi) - E cos(theta)
    integral = (excess * ratio * weights * length).sum(-1)
    return torch.where(left, -integral, integral)


@torch.no_grad()
def _angles(kappa: Tensor, dimensions: int) -> Tensor:
    """An angle for each kappa, by rejection from an envelope whose half-angle's squared tangent is a ratio of Gammas.

    Source: Wood 1994, Simulation of the von Mises Fisher distribution.
    """
    flat, size = kappa.flatten(), dimensions - 1
    theta, rest = torch.empty_like(flat), torch.arange(flat.numel(), device=kappa.device)
    while len(rest):
        k = flat[rest]
        b = size / (2 * k + (4 * k.square() + size**2).sqrt())
        shape = torch.full_like(k, size / 2)
        angle = 2 * torch.atan((b * torch._standard_gamma(shape) / torch._standard_gamma(shape)).sqrt())
        versine, middle, x = 2 * torch.sin(angle / 2).square(), 2 * b / (1 + b), (1 - b) / (1 + b)
        score = k * (middle - versine) + size * ((1 + x * versine / middle) / (1 + x)).log()
        refused = (
            torch.rand_like(k).log() > score
        )  # not a number is let through: it is for the loop to find, not to hang on
        theta[rest[~refused]] = angle[~refused]
        rest = rest[refused]
    return theta.reshape(kappa.shape)


class SphericalVonMisesFisher(Distribution):
    r"""Unit vectors around a mean direction.

    .. math:: \log q(z) = \kappa \mu^T z - \log E_{\mathrm{uniform}}\, e^{\kappa \mu^T z} - \log \mathrm{area}

    Draws are exact. Their gradient is unbiased in both parameters: the angle is reparameterised implicitly, through its
    distribution function, so nothing of the rejection sampler is left out; the tangent direction is carried along by the
    smallest rotation that moves the mean direction, which singles out no axis, as a reflection would.

    Args:
        loc: (*batch, m) mean directions, of length 1.
        concentration: (*batch) kappa, at least 0; at 0 all directions are alike.

    Source: Davidson et al. 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891; Figurnov et al. 2018,
    Implicit Reparameterization Gradients, arXiv:1805.08498.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = Sphere()
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def _profile(self) -> tuple[Tensor, Tensor]:
        return profile(wide(self.concentration), self.event_shape[0])

    @property
    def mean(self) -> Tensor:
        """(*batch, m) the mean direction, a point of the sphere; the expectation of z is shorter and lies inside."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """(*batch, m) root mean square distance of z from the mean direction, by coordinate: sqrt(E|z - mean|^2 / m)."""
        versine = self._profile()[1].detach()
        return (2 * versine / self.event_shape[0]).sqrt().to(self.loc.dtype).unsqueeze(-1).expand_as(self.loc)

    @property
    def variance(self) -> Tensor:
        """(*batch, m)."""
        return self.stddev.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, m)."""
        shape, m = self._extended_shape(sample_shape), self.event_shape[0]
        kappa = self.concentration
        theta = _angles(kappa.detach().expand(shape[:-1]), m)
        if torch.is_grad_enabled() and kappa.requires_grad:
            slope = _slope(wide(theta), wide(kappa), m).to(theta.dtype)
            theta = theta + slope * (kappa - kappa.detach())
        noise, fixed = torch.randn(shape, device=self.loc.device, dtype=self.loc.dtype), self.loc.detach()
        tangent = F.normalize(noise - (noise * fixed).sum(-1, keepdim=True) * fixed, dim=-1)
        # zero already but for rounding; its gradient is the rotation
        tangent = tangent - (tangent * self.loc).sum(-1, keepdim=True) * self.loc
        theta = theta.unsqueeze(-1)
        return theta.cos() * self.loc + theta.sin() * tangent

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats with respect to area; `value` broadcasts against the batch."""
        # half the squared chord is 1 - cos(theta), and keeps its digits when kappa is large
        versine = 0.5 * (value - self.loc).square().sum(-1)
        return self._profile()[0].to(versine.dtype) - self.concentration * versine - log_area(self.event_shape[0])

    def detach(self) -> SphericalVonMisesFisher:
        """The same distribution; no gradient reaches its parameters."""
        return SphericalVonMisesFisher(self.loc.detach(), self.concentration.detach())

    def expand(self, batch_shape: Any, _instance: Any = None) -> SphericalVonMisesFisher:
        """The same distribution with its batch broadcast to `batch_shape`."""
        shape = torch.Size(batch_shape)
        return SphericalVonMisesFisher(self.loc.expand(shape + self.event_shape), self.concentration.expand(shape))


class SphericalUniform(Distribution):
    """All directions alike.

    Args:
        loc: (*batch, m) zeros, the centre of the sphere: the mean.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = Sphere()
    has_rsample = True

    def __init__(self, loc: Tensor) -> None:
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, m) zeros."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """(*batch, m) 1 / sqrt(m), of each coordinate."""
        return torch.full_like(self.loc, self.event_shape[0] ** -0.5)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, m) normalised Gaussian noise."""
        noise = torch.randn(self._extended_shape(sample_shape), device=self.loc.device, dtype=self.loc.dtype)
        return F.normalize(noise, dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats with respect to area, the same everywhere; `value` broadcasts against the batch."""
        return (value + self.loc).new_full(
            torch.broadcast_shapes(value.shape, self.loc.shape)[:-1], -log_area(value.shape[-1])
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> SphericalUniform:
        """The same distribution with its batch broadcast to `batch_shape`."""
        return SphericalUniform(self.loc.expand(torch.Size(batch_shape) + self.event_shape))


@register_kl(SphericalVonMisesFisher, SphericalUniform)
def _divergence(q: SphericalVonMisesFisher, p: SphericalUniform) -> Tensor:
    normaliser, versine = q._profile()
    return (normaliser - wide(q.concentration) * versine).to(q.concentration.dtype)
