"""Curved spaces that z may lie in: what densities over them are with respect to, and the way back onto them."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, constraints


class Surface(constraints.Constraint):
    """The support of a distribution over a curved space. Densities over unequal surfaces cannot be compared."""

    event_dim = 1

    def project(self, z: Tensor) -> Tensor:
        """(*lead, D) the point of the surface that z (*lead, D) of the flat space around it stands for."""
        raise NotImplementedError


def surface_of(distribution: Distribution) -> Surface | None:
    """The curved space of a distribution; None where its space is flat, or not known."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return support if isinstance(support, Surface) else None
