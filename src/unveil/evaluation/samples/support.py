"""Where samples and data are: whether samples lie where data do, and whether they reach everywhere that data do.

Each set's support is guessed as the union of balls around its examples, each as wide as the distance to the k-th nearest
other of the same set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.evaluation.figure import Figure
from unveil.randomness import generator

NEIGHBOURS = 5
"""k, as Naeem et al. 2020 choose it."""
BLOCKS, BLOCK = 20, 50
"""Blocks that standard errors are told from, and the fewest rows of each; a few blocks do not tell an error."""
CHUNK = 500
"""Rows that meet all columns at a time: 40 MB of float64 against 10,000."""
TIE = 1e-10
"""Squared distances that differ by less than this share of the mean square are equal: features are float32."""


@dataclass(frozen=True)
class Support:
    """What `support` found.

    Attributes:
        precision: share of samples that lie in a ball of the data.
        recall: share of the data that lie in a ball of the samples.
        density: in how many balls of the data a sample lies, over k: 1 on average where samples are as the data are, above
            1 where they crowd at the data's densest places. An outlier among the data adds little, unlike to precision.
        coverage: share of the data whose ball holds a sample: 1 - 2^-k where samples are as the data are.
    """

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def support(samples: Tensor, data: Tensor, k: int = NEIGHBOURS) -> Support:
    """Improved precision and recall, density and coverage of features (N, F) of samples against (M, F) of data.

    Distances come in chunks, in float64. The figures depend on the sizes of both sets: compare at the same. Precision and
    recall do not reach 1 for samples of the very distribution of the data: read them beside those of training images.

    Standard errors come from 20 random disjoint blocks of both sets, in which every figure is taken anew at the block's
    size; judge by Student's t with 19 degrees of freedom. Errors over examples hold the other set fixed and are 1.1 to 1.6
    times too small: they are the least that is stated, and twice as much where there are fewer than 1,000 rows. They count
    one example more than was found, so that none and all of a few are not certain.

    Raises:
        SettingError: no more than k examples, or other features on one side.

    Source: Kynkäänniemi et al. 2019, Improved Precision and Recall Metric, arXiv:1904.06991; Naeem et al. 2020, Reliable
    Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797.
    """
    size = min(len(samples), len(data))
    if k < 1 or size <= k or samples.shape[1:] != data.shape[1:]:
        given = f"features of shape {tuple(samples.shape)} and {tuple(data.shape)}"
        raise SettingError(f"there are no {k} neighbours among {given}; give more rows than k, of the same features")
    middle = data.double().mean(0)  # squares of far points lose digits
    x, y = samples.double() - middle, data.double() - middle
    whole, own = _measure(x, y, k)
    if size >= BLOCKS * max(BLOCK, k + 1):
        parts = zip(_parts(x), _parts(y), strict=True)
        error = torch.maximum(own, torch.stack([_measure(a, b, k)[0] for a, b in parts]).std(0) / BLOCKS**0.5)
    else:
        error = 2 * own
    units = ("share", "share", "", "share")
    counts = (len(x), len(y), len(x), len(y))
    columns = zip(whole.tolist(), error.tolist(), counts, units, strict=True)
    return Support(*(Figure(*column) for column in columns))


def _parts(rows: Tensor) -> tuple[Tensor, ...]:
    # at random: rows may be sorted, by class or by age
    order = torch.randperm(len(rows), generator=generator("blocks", len(rows)))
    return rows[order].tensor_split(BLOCKS)


def _measure(samples: Tensor, data: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(4,) precision, recall, density and coverage, and their errors over examples where the other set stands still."""
    tie = TIE * data.square().sum(1).mean()
    mine, theirs = _radii(samples, k) + tie, _radii(data, k) + tie
    balls = torch.zeros(len(samples), dtype=torch.int64)  # of the data, that each sample lies in
    covered, reached = [], []
    for rows, radii in zip(data.split(CHUNK), theirs.split(CHUNK), strict=True):
        squares = _squares(rows, samples)
        held = squares <= radii.unsqueeze(1)
        balls += held.sum(0)
        covered.append(held.any(1))
        reached.append((squares <= mine).any(1))
    each = [column.double() for column in (balls > 0, torch.cat(reached), balls / k, torch.cat(covered))]
    errors = [(column.var(correction=0) / len(column) + 1 / len(column) ** 2).sqrt() for column in each]
    return torch.stack([column.mean() for column in each]), torch.stack(errors)


def _radii(rows: Tensor, k: int) -> Tensor:
    """(N,) squared distance of each to its k-th nearest other."""
    radii = []
    for start in range(0, len(rows), CHUNK):
        squares = _squares(rows[start : start + CHUNK], rows)
        squares.diagonal(start).fill_(torch.inf)  # oneself is no neighbour, a twin is
        radii.append(squares.topk(k, 1, largest=False).values[:, -1])
    return torch.cat(radii)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) squared distances."""
    across = torch.addmm(b.square().sum(1), a, b.mT, alpha=-2)
    return across.add_(a.square().sum(1, keepdim=True)).clamp_(min=0)
