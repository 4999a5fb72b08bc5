r"""The integral of p(z) p(x|z) over z for many images at once, and an honest error of each.

The error of a sum over equally spaced points is the integrand's spectrum at the frequency 1 / spacing and its multiples,
and that of a sum at twice the spacing is the spectrum at half the frequency, which is larger. So the change between the
two, which is known, is taken for the error of the finer one. For a smooth integrand, whose spectrum falls exponentially,
it is many times too large; where there are kinks, as under a decoder of rectified units, three times; at jumps it is about
right.

Shifts matter: a narrow peak can lie so that two spacings agree and both are wrong. The change is therefore the largest over
all shifts that are known: those sums that take every second point, and that over the grid before, whose points lie in the
middle between. By those that take every fourth point one can tell kinks, of which many can cancel in a change by accident:
where halving the spacing divides the change by less than 50, no less is stated than an eighth of that to every fourth
point. Where changes are not small a sum says little, and that to every fourth point is the error. What no sum can tell is a
peak several times narrower than the spacing beside a broad one; there the encoder is asked.

Source: Trefethen & Weideman 2014, The Exponentially Convergent Trapezoidal Rule, SIAM Review 56(3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log

import torch
from torch import Tensor

from unveil.evaluation.likelihood.grid import Grid, Images, Sums, spread, sums

SETTLED, ROUGH = 0.01, 0.5
"""Changes in nats, to every second and to every fourth point, above which sums have not begun to converge."""
FALL, KINKS = 50.0, 8.0
"""What halving the spacing divides an error by that falls by powers, at most; and what two halvings do, at least."""
SURPRISE = 1.0
"""Nats by which a density known from elsewhere may exceed the largest on the grid, before a peak was missed."""
DEPTH = 25.0
"""Nats below an image's integral at which half a tile may be left out of a finer grid, if its neighbours may as well."""
NEGLIGIBLE = 1e-5
"""Share of the integral in the outer shell below which a box is wide enough."""
GROWTHS = 10
"""How often a box is made wider, by half each time: to 58 times what the prior's draws take."""
MARKS = 2**25
"""Most pairs of a tile and an image at a time: what is kept for each takes up to 32 bytes."""
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Integrals:
    """log p(x) of N images.

    Attributes:
        log_p: (N,) nats, float64.
        spacing: (N,) nats, the error that is due to the spacing of the points.
        beyond: (N,) nats, the error that is due to the box: -log(1 - share of its outer shell), which covers what is cut
            off of an integrand that at least halves over the shell's width; and what was left out within.
        grid: the finest that was summed over.
        visited: pairs of a point and an image that were looked at.
    """

    log_p: Tensor
    spacing: Tensor
    beyond: Tensor
    grid: Grid
    visited: int

    @property
    def error(self) -> Tensor:
        """(N,) nats, both errors together."""
        return self.spacing + self.beyond


def integrate(images: Images, grid: Grid, known: Tensor, points: int, tolerance: float) -> Integrals:
    """Integrate p(z) p(x|z) for each image, in as wide a box and on as fine a grid as it needs.

    Args:
        images: N of them.
        grid: the first to try.
        known: (N,) log p(x, z) at some z that is thought to be a good one; a grid whose largest value lies well below it
            has missed a peak.
        points: of the finest grid, at most.
        tolerance: nats; an image whose error by the spacing is below is refined no further.
    """
    found = _refine(images, grid, known, points, tolerance)
    for _ in range(GROWTHS):
        # of sums that have not converged a share may be an accident, unless it is most
        known_share = (found.spacing < SETTLED) | (found.beyond > log(2))
        rows = ((found.beyond > NEGLIGIBLE) & known_share).nonzero().squeeze(1)
        if not len(rows):
            break
        grid = grid.widened()
        found = _better(found, rows, _refine(images.subset(rows), grid, known[rows], points, tolerance))
    return found


def _better(one: Integrals, rows: Tensor, other: Integrals) -> Integrals:
    """`one`, with those of its images at positions `rows` that `other` has a smaller error for taken from there."""
    better = other.error < one.error[rows]

    def merged(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, rows[better], new[better])

    return Integrals(
        log_p=merged(one.log_p, other.log_p),
        spacing=merged(one.spacing, other.spacing),
        beyond=merged(one.beyond, other.beyond),
        grid=max(one.grid, other.grid, key=lambda grid: grid.points),
        visited=one.visited + other.visited,
    )


def _refine(images: Images, grid: Grid, known: Tensor, points: int, tolerance: float) -> Integrals:
    """On finer and finer grids of one box, each for those images alone that the last was too coarse for."""
    log_p, spacing, beyond = torch.full((3, len(images.x)), torch.inf, dtype=torch.float64)
    # positions of images, the grid to sum over, and what says which of its tiles matter to them
    waiting = [(part, grid, _all(grid, len(part))) for part in _parts(torch.arange(len(images.x)), grid)]
    visited, finest = 0, grid
    while waiting:
        rows, grid, matters = waiting.pop()
        last = grid.halved().points > points
        found = sums(images.subset(rows), grid, matters(), halves=not last)
        total, error, change = judge(found, log_p[rows] - grid.log_cell, known[rows])
        share = (found.shell - total).exp().clamp(max=1 - EPSILON)
        left = grid.tiles**grid.dimensions * exp(-DEPTH)
        log_p[rows], spacing[rows], beyond[rows] = total + grid.log_cell, error, left - torch.log1p(-share)
        visited, finest = visited + found.visited, max(finest, grid, key=lambda one: one.points)
        if last:
            continue
        # an image whose sums change much may have a peak between the points that is higher by as much
        floor, finer = (total - DEPTH - change).float(), grid.halved()
        for part in _parts((error > tolerance).nonzero().squeeze(1), finer):
            waiting.append((rows[part], finer, partial(_neighbourhood, found, grid, floor, part)))
    return Integrals(log_p, spacing, beyond, finest, visited)


def _parts(rows: Tensor, grid: Grid) -> Sequence[Tensor]:
    """`rows` in as many parts as it takes to hold a mark for each of their images and each tile."""
    return rows.split(max(1, MARKS // grid.tiles**grid.dimensions)) if len(rows) else ()


def _all(grid: Grid, images: int) -> Callable[[], Tensor]:
    return lambda: torch.ones(*(grid.tiles,) * grid.dimensions, images, dtype=torch.bool)


def _neighbourhood(found: Sums, grid: Grid, floor: Tensor, images: Tensor) -> Tensor:
    """Which tiles of the grid after `grid` matter: half tiles that add enough, and those beside them."""
    return spread(found.worth(grid, floor, images), grid.dimensions)


def judge(found: Sums, before: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a grid's sums are worth.

    Args:
        found: sums over a grid.
        before: (N,) what the grid before says that the logarithm of the whole sum is; infinite where there is none.
        known: (N,) log p(x, z) at some z.

    Returns:
        (N,) nats each: the logarithm of the whole sum, its error by the spacing, and by how much a peak between the points
        may be higher than the sum says.
    """
    dims = found.residues.dim() - 1
    axes = tuple(range(dims))
    total = found.residues.logsumexp(axes)
    four = (found.residues + dims * log(4) - total).abs().amax(axes)
    # a remainder by 4 is twice the first of two digits and the second, and the second is the remainder by 2
    digits = found.residues.reshape(*(2, 2) * dims, -1)
    two = (digits.logsumexp([2 * axis for axis in axes]) + dims * log(2) - total).abs().amax(axes)
    error = torch.maximum(two, (before - total).abs())
    error = torch.where(error > four / FALL, torch.maximum(error, four / KINKS), error)
    error = torch.where((error < SETTLED) & (four < ROUGH), error, torch.maximum(error, four))
    missed = known - found.peak
    error = torch.where(missed > SURPRISE, torch.maximum(error, missed), error)
    return total, error, torch.maximum(four, missed)
