"""Spaces of z that are not flat, curved or counted: what densities over them are with respect to, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

if TYPE_CHECKING:
    from unveil.distributions.ways import Way


class Surface(constraints.Constraint):
    """The support of a distribution over no flat space. Densities over unequal ones cannot be compared."""

    event_dim = 1

    @property
    def radius(self) -> float:
        """All z shorter than this are points of it; 0 where most z around one of its points are none."""
        return 0.0

    @property
    def ways(self) -> tuple[Way, ...]:
        """Ways between two of its points that stay on it, the shortest first; none where there is nothing between."""
        return ()

    def project(self, z: Tensor) -> Tensor:
        """(*lead, D) the point of the surface that z (*lead, D) of the flat space around it stands for."""
        raise NotImplementedError


@dataclass(frozen=True)
class Counted(Surface):
    """Values that are counted, such as codes or one-hot vectors: what stands for a density is a probability."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        return torch.zeros(value.shape[:-2], dtype=torch.bool, device=value.device)  # a number is none of them by chance

    def project(self, z: Tensor) -> Tensor:
        return z


def surface_of(distribution: Distribution) -> Surface | None:
    """The curved or counted space of a distribution; None where it is flat, or not known."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return support if isinstance(support, Surface) else None
