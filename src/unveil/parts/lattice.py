"""Finite scalar quantisation: an alphabet that needs no learning, because its codes are the points of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from unveil.distributions import ChosenCodes
from unveil.errors import SettingError
from unveil.part import Part


class Lattice(Part):
    r"""Each of a few numbers, squashed into [-1, 1] by tanh, is rounded to the nearest of its levels.

    The levels of a number are evenly spaced from -1 to 1, and a code is a point of the grid: prod(levels) codes, none of
    which can die. Even numbers of levels stand symmetrically here, and have none at 0.

    Args:
        levels: L_i for each number of a vector, at least 2 each.

    Source: Mentzer et al. 2023, Finite Scalar Quantization: VQ-VAE Made Simple, arXiv:2309.15505.
    """

    depth = 1
    steps: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        if min(self.levels, default=0) < 2:
            raise SettingError(f"a lattice cannot have levels {self.levels}; give at least 2 for each number")
        self.codes, self.dimensions = prod(self.levels), len(self.levels)
        self.register_buffer("steps", torch.tensor([level - 1 for level in self.levels]))
        self.register_buffer("places", torch.tensor([prod(self.levels[:place]) for place in range(self.dimensions)]))

    def index(self, z: Tensor) -> Tensor:
        """(*lead) int64, the point nearest to each vector of z (*lead, dimensions): digits, the first of them lowest."""
        # rounding in doubles, so that a point is told from its neighbours whatever the number of levels
        digit = ((z.detach().double() + 1) / 2 * self.steps).round().clamp(min=0).minimum(self.steps).long()
        return (digit * self.places).sum(-1)

    def vectors(self, index: Tensor) -> Tensor:
        """(*lead, dimensions) the points of codes `index` (*lead)."""
        digit = index.to(self.places.device)[..., None] // self.places % (self.steps + 1)
        return (digit.double() / self.steps * 2 - 1).float()

    def quantise(self, inputs: Tensor) -> ChosenCodes:
        """The points nearest to tanh of inputs (*lead, positions, dimensions)."""
        squashed = torch.tanh(inputs)
        return ChosenCodes(squashed, self.vectors(self.index(squashed)))

    def follow(self, inputs: Tensor) -> None:
        """Nothing: a lattice stands still."""
