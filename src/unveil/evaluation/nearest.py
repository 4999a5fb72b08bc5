"""The nearest neighbour of each example in the space of x: found by matrix products, told by differences."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS, COLUMNS = 500, 20_000
"""How many meet how many at a time: 40 MB."""


def nearest(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) squared distance, float64, of each of x (N, *event) to the nearest of `others` (M, *event), and (N,) which.

    Found in float32, where two that are as near but for rounding may stand for each other; the distance is then summed from
    differences, so that it is 0 for equal ones and for no others.
    """
    return _nearest(x, others, apart=False)


def nearest_other(x: Tensor) -> Tensor:
    """(N,) squared distance, float64, of each of x (N, *event) to the nearest other one; twins are at 0."""
    return _nearest(x, x, apart=True)[0]


def _nearest(x: Tensor, others: Tensor, apart: bool) -> tuple[Tensor, Tensor]:
    rows, columns = x.flatten(1).float(), others.flatten(1).float()
    middle = columns.mean(0)  # squares of far points lose digits
    squares, chosen = [], []
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        best = torch.full((len(part),), torch.inf)
        place = torch.zeros(len(part), dtype=torch.int64)
        for first in range(0, len(columns), COLUMNS):
            against = columns[first : first + COLUMNS] - middle
            # |a|^2 is the same for all of a row, so it plays no part in which is nearest
            found = torch.addmm(against.square().sum(1), part - middle, against.mT, alpha=-2)
            if apart:
                found.diagonal(start - first).fill_(torch.inf)
            value, index = found.min(1)
            place = torch.where(value < best, index + first, place)
            best = torch.minimum(best, value)
        squares.append((part.double() - columns[place].double()).square().sum(1))
        chosen.append(place)
    return torch.cat(squares), torch.cat(chosen)
