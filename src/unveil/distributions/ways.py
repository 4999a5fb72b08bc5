r"""Ways from one value of z to another: what a prior finds likely at both ends should be likely in between.

A way gives z(t) for a share t in [0, 1] of it, with z(0) = a and z(1) = b. Which ways go with a prior is told here alone;
`explorer/page/js/between.js` computes the same points in the browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions.gaussian import DiagonalGaussian
from unveil.distributions.surface import surface_of


class Way(Protocol):
    """From a to b.

    Attributes:
        name: what it is called where it is written down.
    """

    name: ClassVar[str]

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """(*lead, D) a share t (*lead, 1) of the way from a to b, which broadcast against each other."""
        ...


@dataclass(frozen=True)
class Straight:
    """(1 - t) a + t b."""

    name: ClassVar[str] = "straight"

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return (1 - t) * a + t * b


@dataclass(frozen=True)
class Spherical:
    r"""Along the great circle through both directions, the length changing evenly.

    .. math:: z(t) = ((1 - t) |a| + t |b|) \frac{\sin((1 - t) w)\, a / |a| + \sin(t w)\, b / |b|}{\sin w}

    with the angle w between the two. Draws of a Gaussian in D dimensions have lengths near sqrt(D), and the straight way
    between two of them is shorter in its middle by about sqrt(2): a length that the prior hardly ever gives. Where a
    direction is missing or the two are opposite there is no such circle, and the way is straight.

    Source: Shoemake 1985, Animating Rotation with Quaternion Curves, SIGGRAPH; White 2016, Sampling Generative Networks,
    arXiv:1609.04468.
    """

    name: ClassVar[str] = "spherical"

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        a, b = torch.broadcast_tensors(a, b)
        first, last = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
        cosine = (a * b).sum(-1, keepdim=True) / (first * last).clamp(min=1e-30)
        angle = cosine.clamp(-1, 1).acos()
        sine = angle.sin()
        none = (first == 0) | (last == 0) | (sine < 1e-6)
        length = torch.lerp(first, last, t.to(first)) / torch.where(none, torch.ones_like(sine), sine)
        around = length * (((1 - t) * angle).sin() / first * a + (t * angle).sin() / last * b)
        return torch.where(none, (1 - t) * a + t * b, around)


def ways_of(prior: Distribution) -> tuple[Way, ...]:
    """Ways between values under a prior, the one that it asks for first; none where there is nothing between two of them.

    On a curved space those that stay on it, the shortest first. In a flat one both the straight and the spherical way, the
    spherical first where the mass lies on a shell: under a Gaussian around zero, alike in all of more than two directions.
    """
    surface = surface_of(prior)
    if surface is not None:
        return surface.ways
    round_ = isinstance(prior, DiagonalGaussian) and bool((prior.mean == 0).all() and prior.stddev.unique().numel() == 1)
    return (Spherical(), Straight()) if round_ and prior.event_shape.numel() > 2 else (Straight(), Spherical())
