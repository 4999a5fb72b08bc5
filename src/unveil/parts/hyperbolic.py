"""Latent variables in the Poincaré ball, whose room grows exponentially outwards: a wrapped normal posterior and prior."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.distributions import HyperbolicNormal
from unveil.distributions.hyperbolic import EDGE, from_tangent, inside, to_tangent
from unveil.distributions.precision import wide
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import BOUND, Head, bounded
from unveil.words import number


def _checked(dimensions: int, curvature: float) -> None:
    if dimensions < 1:
        raise SettingError(f"a ball cannot have {dimensions} dimensions; give at least 1")
    if not 0 < curvature < inf:
        raise SettingError(f"a Poincaré ball cannot have curvature {curvature}; give a positive one, or take Gaussian()")


def _widest(dimensions: int, room: float, curvature: float) -> float:
    """The largest scale with which draws stay within `room` (in units of 1 / sqrt(c)) of where they are wrapped around."""
    # a chi variable exceeds its root mean square by 4 less than once in a million times
    return room / (sqrt(dimensions) + 4) / sqrt(curvature)


class WrappedNormal(Head):
    r"""A Gaussian wrapped onto the ball around a predicted point, with predicted scales.

    Of the parameters (*lead, 2 D) the first half lead from the origin to the point, the second are log-variances. Points
    stay within a distance of EDGE / 2, and scales smoothly below what would carry draws further than another EDGE / 2
    (about 1.3 in two dimensions at curvature 1), because float32 cannot hold what lies beyond.

    Args:
        dimensions: D, at least 1.
        curvature: c, positive: the ball's curvature is -c.

    Raises:
        SettingError: no dimensions, or no such curvature.

    Source: Mathieu et al. 2019, arXiv:1901.06033; Nagano et al. 2019, arXiv:1902.02992.
    """

    def __init__(self, dimensions: int, curvature: float = 1.0) -> None:
        super().__init__()
        _checked(dimensions, curvature)
        self.dimensions, self.curvature = dimensions, curvature

    def forward(self, parameters: Tensor) -> Distribution:
        if parameters.shape[-1] != 2 * self.dimensions:
            needed, given = 2 * self.dimensions, parameters.shape[-1]
            raise SettingError(f"WrappedNormal({self.dimensions}) takes {needed} parameters; the network gave {given}")
        tangent, log_variance = wide(parameters).chunk(2, dim=-1)
        length, limit = tangent.norm(dim=-1, keepdim=True).clamp(min=1e-12), EDGE / 2 / sqrt(self.curvature)
        loc = from_tangent(limit * torch.tanh(length / limit) / length * tangent, self.curvature)
        # 1 / scale is the sum of two, so that neither bound bends the gradient
        log_limit = log(_widest(self.dimensions, EDGE / 2, self.curvature))
        narrow = -bounded(0.5 * log_variance, 0.5 * BOUND)
        log_scale = -torch.logaddexp(narrow, torch.full_like(narrow, -log_limit))
        return HyperbolicNormal(loc.float(), log_scale.float(), self.curvature)

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (2 * self.dimensions,)


class PoincareNormal(Part):
    """The wrapped normal prior around the origin, which learns nothing.

    Args:
        dimensions: D, at least 1.
        scale: standard deviation of the distance along each axis, positive.
        curvature: c, positive: the ball's curvature is -c.

    Raises:
        SettingError: no dimensions, no such curvature, or a scale whose draws float32 cannot tell from the ball's rim.
    """

    zeros: Tensor

    def __init__(self, dimensions: int, scale: float = 1.0, curvature: float = 1.0) -> None:
        super().__init__()
        _checked(dimensions, curvature)
        widest = _widest(dimensions, EDGE, curvature)
        if not 0 < scale <= widest:
            raise SettingError(
                f"a prior of scale {scale} does not fit a ball of curvature {curvature} in {dimensions} dimensions; "
                f"give a positive scale up to {number(widest, 3)}, or less curvature"
            )
        self.dimensions, self.scale, self.curvature = dimensions, scale, curvature
        self.register_buffer("zeros", torch.zeros(dimensions))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return HyperbolicNormal(self.zeros, torch.full_like(self.zeros, log(self.scale)), self.curvature)


class LogMap(nn.Module):
    """A network that sees points of the ball by the way to them from the origin: direction times distance.

    Points far apart near the rim have nearly the same coordinates in the ball, which a network cannot tell apart.

    Args:
        network: any module from (N, D) to (N, *outputs), in a conditional model from that and the context (N, C).
        curvature: c, positive.
    """

    def __init__(self, network: nn.Module, curvature: float = 1.0) -> None:
        super().__init__()
        self.network, self.curvature = network, curvature

    def forward(self, z: Tensor, *context: Tensor) -> Tensor:
        tangent = to_tangent(inside(wide(z), self.curvature), self.curvature).to(z.dtype)
        outputs: Tensor = self.network(tangent, *context)
        return outputs
