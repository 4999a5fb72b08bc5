"""The nearest neighbours of each example in the space of x: found by matrix products, told by differences."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS, COLUMNS = 500, 20_000
"""How many meet how many at a time: 40 MB."""


def nearest(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances, float64, of each of x (N, *event) to the two nearest of `others` (M, *event), and which they are.

    Found in float32, where two that are as near but for rounding may stand for each other; the distances are then summed
    from differences, so that they are 0 for equal ones and for no others.

    Returns:
        (N, 2) each, the nearest first.
    """
    squares, places = _nearest(x, others, 2, apart=False)
    order = squares.argsort(stable=True, dim=1)
    return squares.gather(1, order), places.gather(1, order)


def nearest_other(x: Tensor) -> Tensor:
    """(N,) squared distance, float64, of each of x (N, *event) to the nearest other one; twins are at 0."""
    return _nearest(x, x, 1, apart=True)[0].squeeze(1)


def _nearest(x: Tensor, others: Tensor, k: int, apart: bool) -> tuple[Tensor, Tensor]:
    rows, columns = x.flatten(1).float(), others.flatten(1).float()
    middle = columns.mean(0)  # squares of far points lose digits
    squares, chosen = [], []
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        best = torch.full((len(part), k), torch.inf)
        places = torch.zeros(len(part), k, dtype=torch.int64)
        for first in range(0, len(columns), COLUMNS):
            against = columns[first : first + COLUMNS] - middle
            # |a|^2 is the same for all of a row, so it plays no part in which are nearest
            found = torch.addmm(against.square().sum(1), part - middle, against.mT, alpha=-2)
            if apart:
                found.diagonal(start - first).fill_(torch.inf)
            values, index = found.topk(min(k, found.shape[1]), 1, largest=False)
            best, order = torch.cat([best, values], 1).topk(k, 1, largest=False)
            places = torch.cat([places, index + first], 1).gather(1, order)
        differences = [part.double() - columns[place].double() for place in places.T]
        squares.append(torch.stack([difference.square().sum(1) for difference in differences], 1))
        chosen.append(places)
    return torch.cat(squares), torch.cat(chosen)
