"""A box of z in one to three dimensions, cut into equally spaced points, and sums over them for many images at once.

Points come in tiles. A tile is decoded once, for all images that it matters to, and what it adds to the integral of each
is kept apart in three ways: by residue, which tells how far the sum would be off at a coarser spacing; by half tile, which
tells where a finer grid need not look; and for the outer shell, which tells what lies outside the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import table
from unveil.models import VAE

TILE = {1: 256, 2: 16, 3: 8}
"""Points along one side of a tile, by dimensions: some hundred points in all, enough for a product of matrices."""
FIRST = 2
"""Tiles along one side of the first grid; each later one has twice as many."""
OUTER = 8
"""The shell is this fraction of the box, on each side."""
ENTRIES = 2**20
"""Most entries of a table held at a time, so that it stays near the cache."""
NUMBERS = 2**24
"""Most numbers of x gathered at a time."""


@dataclass(frozen=True)
class Grid:
    """The midpoints of equal cells.

    Attributes:
        low: the lower corner of the box.
        high: the upper corner.
        side: points along each dimension, a multiple of a tile's.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    side: int

    @classmethod
    def first(cls, low: Tensor, high: Tensor) -> Grid:
        """The coarsest grid of a box with corners `low` and `high` (D,)."""
        return cls(tuple(low.tolist()), tuple(high.tolist()), FIRST * TILE[len(low)])

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self.low)

    @property
    def points(self) -> int:
        """How many in all."""
        return self.side**self.dimensions

    @property
    def tiles(self) -> int:
        """How many along each dimension."""
        return self.side // TILE[self.dimensions]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Between neighbours, along each dimension."""
        return tuple((high - low) / self.side for low, high in zip(self.low, self.high, strict=True))

    @property
    def log_cell(self) -> float:
        """The logarithm of a cell's volume."""
        return sum(log(spacing) for spacing in self.spacing)

    def halved(self) -> Grid:
        """The grid of the same box at half the spacing."""
        return Grid(self.low, self.high, 2 * self.side)

    def widened(self, factor: float = 1.5) -> Grid:
        """As many points in a box that is `factor` as wide, around the same centre."""
        middle = [(low + high) / 2 for low, high in zip(self.low, self.high, strict=True)]
        reach = [factor * (high - low) / 2 for low, high in zip(self.low, self.high, strict=True)]
        low, high = ([at + sign * by for at, by in zip(middle, reach, strict=True)] for sign in (-1, 1))
        return Grid(tuple(low), tuple(high), self.side)

    def tile(self, place: Sequence[int]) -> Tensor:
        """(T, D) the points of the tile at `place`, float64, the last dimension fastest."""
        size = TILE[self.dimensions]
        steps = [size * at + torch.arange(size, dtype=torch.float64) + 0.5 for at in place]
        axes = [low + by * step for low, by, step in zip(self.low, self.spacing, steps, strict=True)]
        return torch.cartesian_prod(*axes).reshape(-1, self.dimensions)

    def shell(self, place: Sequence[int]) -> Tensor:
        """(2,) * D bool, which half tiles of the tile at `place` lie in the outer shell."""
        count = 2 * self.tiles
        found = torch.zeros((2,) * self.dimensions, dtype=torch.bool)
        for axis, at in enumerate(place):
            half = 2 * at + torch.arange(2)
            outer = (half < count // OUTER) | (half >= count - count // OUTER)
            found |= outer.view([2 if other == axis else 1 for other in range(self.dimensions)])
        return found


@dataclass(frozen=True)
class Images:
    """Images that share a context, and the model that they are integrated under.

    Attributes:
        model: with one layer of z.
        prior: its p(z), batch shape () or (1,).
        context: (1, C) what the model is given; None for an unconditional one.
        x: (N, *event) on the model's device.
    """

    model: VAE
    prior: Distribution
    context: Tensor | None
    x: Tensor

    def subset(self, rows: Tensor) -> Images:
        """The images at positions `rows`."""
        return Images(self.model, self.prior, self.context, self.x[rows.to(self.x.device)])

    def log_prior(self, z: Tensor) -> Tensor:
        """(G,) log p(z) of points z (G, D)."""
        points = z.unsqueeze(1) if self.prior.batch_shape else z
        return self.prior.log_prob(points).reshape(-1)


@dataclass
class Sums:
    """Logarithms of sums of p(z) p(x|z) over the points of a grid, one of each for every image.

    Attributes:
        residues: (4,) * D + (N,) over the points whose place along each dimension leaves that remainder when divided by 4:
            each is a sum over a grid of four times the spacing, shifted.
        shell: (N,) over the points of the outer shell.
        peak: (N,) the largest single value.
        halves: for each tile that was looked at its place, the positions (n,) of the images, and (2,) * D + (n,) over each
            half of it along each dimension, float32; None where nobody will ask.
        visited: pairs of a point and an image that were looked at.
    """

    residues: Tensor
    shell: Tensor
    peak: Tensor
    halves: list[tuple[tuple[int, ...], Tensor, Tensor]] | None
    visited: int = field(default=0)

    @classmethod
    def empty(cls, grid: Grid, images: int, halves: bool) -> Sums:
        """Before any tile."""
        nothing = torch.full((4**grid.dimensions + 2, images), -torch.inf, dtype=torch.float64)
        residues = nothing[2:].view(*(4,) * grid.dimensions, images)
        return cls(residues, nothing[0], nothing[1], [] if halves else None)

    def add(self, grid: Grid, place: tuple[int, ...], rows: Tensor, joint: Tensor) -> None:
        """Take in log p(x, z) (T, n) of the tile at `place` for the images at positions `rows` (n,)."""
        dims, count = grid.dimensions, joint.shape[1]
        top = joint.amax(0).clamp(min=torch.finfo(joint.dtype).min)  # what is impossible has no top to be taken from
        # along each dimension: which half, which group of four in it, which of the four
        parts = (joint - top).reshape(*(2, TILE[dims] // 8, 4) * dims, count)
        which = [tuple(range(start, 3 * dims, 3)) for start in range(3)]
        top = top.cpu().double()
        residues = parts.logsumexp(which[0] + which[1]).cpu().double() + top
        halves = parts.logsumexp(which[1] + which[2]).cpu().double() + top
        self.residues[..., rows] = torch.logaddexp(self.residues[..., rows], residues)
        self.peak[rows] = torch.maximum(self.peak[rows], top)
        outer = grid.shell(place)
        if outer.any():
            self.shell[rows] = torch.logaddexp(self.shell[rows], halves[outer].logsumexp(0))
        if self.halves is not None:
            self.halves.append((place, rows, halves.float()))
        self.visited += joint.numel()

    def worth(self, grid: Grid, floor: Tensor, images: Tensor) -> Tensor:
        """(2 tiles,) * D + (n,) bool, which half tiles of `grid` add more than `floor` (N,), for `images` (n,)."""
        found = torch.zeros(*(2 * grid.tiles,) * grid.dimensions, len(images), dtype=torch.bool)
        column = torch.full(floor.shape, -1).index_copy(0, images, torch.arange(len(images)))
        for place, rows, halves in self.halves or ():
            asked = column[rows] >= 0
            block = found[tuple(slice(2 * at, 2 * at + 2) for at in place)]
            block[..., column[rows][asked]] = (halves > floor[rows])[..., asked]
        return found


def sums(images: Images, grid: Grid, matters: Tensor, halves: bool = True) -> Sums:
    """Sum p(z) p(x|z) over the points of a grid.

    Args:
        images: N of them.
        grid: the points.
        matters: (tiles,) * D + (N,) bool, which tiles are looked at for which image.
        halves: whether to keep the sums over half tiles.
    """
    found = Sums.empty(grid, len(images.x), halves)
    device, dtype = images.x.device, next(images.model.parameters()).dtype
    for place in product(range(grid.tiles), repeat=grid.dimensions):
        rows = matters[place].nonzero().squeeze(1)
        if not len(rows):
            continue
        points = grid.tile(place)
        z = points.to(device, dtype)
        output, log_pz = images.model.decode(z, images.context), images.log_prior(z)
        for part in rows.split(max(1, min(ENTRIES // len(points), NUMBERS // images.x[0].numel()))):
            log_px = table(output, images.x[part.to(device)])
            found.add(grid, place, part, log_px + log_pz.to(log_px.dtype).unsqueeze(1))
    return found


def spread(mask: Tensor, dimensions: int) -> Tensor:
    """`mask` (n,) * D + (N,) bool and its neighbours, in each of the first D dimensions and across corners."""
    for axis in range(dimensions):
        wider, size = mask.clone(), mask.shape[axis] - 1
        wider.narrow(axis, 1, size).logical_or_(mask.narrow(axis, 0, size))
        wider.narrow(axis, 0, size).logical_or_(mask.narrow(axis, 1, size))
        mask = wider
    return mask
