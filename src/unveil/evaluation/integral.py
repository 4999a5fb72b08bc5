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

from dataclasses import dataclass
from math import exp, log

import torch
from torch import Tensor

from unveil.evaluation.grid import Grid, Images, Sums, spread, sums

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
    log_p, spacing, beyond = torch.full((3, len(images.x)), torch.nan, dtype=torch.float64)
    rest, visited, before = torch.arange(len(images.x)), 0, torch.full((len(images.x),), torch.inf, dtype=torch.float64)
    matters = torch.ones(*(grid.tiles,) * grid.dimensions, len(rest), dtype=torch.bool)
    while True:
        last = grid.halved().points > points
        found = sums(images, grid, matters, halves=not last)
        total, error, change = judge(found, before - grid.log_cell, known[rest])
        left = grid.tiles**grid.dimensions * exp(-DEPTH)
        log_p[rest], spacing[rest] = total + grid.log_cell, error
        share = (found.shell - total).exp().clamp(max=1 - EPSILON)
        beyond[rest] = left - torch.log1p(-share)
        visited += found.visited
        coarse = (error > tolerance).nonzero().squeeze(1)
        if found.halves is None or not len(coarse):
            return Integrals(log_p, spacing, beyond, grid, visited)
        # an image whose sums change much may have a peak between the points that is higher by as much
        matters = spread((found.halves > (total - DEPTH - change).float())[..., coarse], grid.dimensions)
        images, rest, grid = images.subset(coarse), rest[coarse], grid.halved()
        before = log_p[rest]


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
