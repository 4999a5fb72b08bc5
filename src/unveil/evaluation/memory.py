"""Whether a model repeats its training set, or itself: nearest neighbours of its samples in the space of x.

A sample is near to some training example or other even if nothing was memorised. What counts is whether samples are
nearer to the training set than held-out data are, which come from the same source and cannot have been memorised.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil, lgamma
from typing import Any

import torch
from torch import Tensor

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.evaluation.figure import Figure
from unveil.evaluation.nearest import nearest, nearest_other
from unveil.evaluation.samples import drawn, read_alike, share
from unveil.models import Model

NEAR = 0.01
"""Which quantile of the held-out distances is called near."""
FEWEST = 100
"""Held-out examples below which that quantile is none."""
ALARM = 1e-3
"""Chance at which the audit speaks up: one healthy model in a thousand is suspected of each fault."""
WORST = 10
"""Most samples that are named."""


@dataclass(frozen=True)
class Pair:
    """A sample and the training example nearest to it.

    Attributes:
        sample: which of `model.sample(n, context, seed=seed)`.
        position: of the example in the training split, and `row` its row in the source.
        distance: squared, between the two.
    """

    sample: int
    position: int
    row: int
    distance: float


@dataclass(frozen=True)
class Memory:
    """What `memory` found. Distances are squared and summed over entries: of binary images, pixels that differ.

    Attributes:
        data: name of the data, and `split` which of its splits were held out.
        fingerprint: SHA-256 over the training values and labels.
        measure: how samples and data were read.
        training: training examples, `held` held-out ones, and `n` samples.
        seed: of the samples, of binarisation and of the subsets.
        threshold: the distance below which 1 % of held-out examples are to the training set.
        near: share of samples below it; 1 % expected where nothing is memorised and samples are as data are.
        near_chance: chance of as large a share if samples were held-out data, not too small.
        median: of the samples' distances to the training set, and `held_median` of the held-out ones'.
        repeated: share of samples that are equal to another one, and `held_repeated` of held-out examples.
        close: the distance below which 1 % of held-out examples are to another one, as many as there are samples.
        crowded: share of samples nearer than that to another one.
        crowded_chance: chance of as large a share if samples were held-out data, not too small.
        worst: the samples nearest to a training example, nearest first.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    training: int
    held: int
    n: int
    seed: int
    threshold: float
    near: Figure
    near_chance: float
    median: Figure
    held_median: Figure
    repeated: Figure
    held_repeated: Figure
    close: float
    crowded: Figure
    crowded_chance: float
    worst: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """Name and value of each figure, with its error and what held-out data give."""
        held = f"{self.held:,} of {self.data} {self.split}"
        nearest = self.worst[0]
        return [
            ("examples", f"{self.n:,} samples and {held} against {self.training:,} training examples, {self.measure}"),
            ("distance to the training set, median", f"{number(self.median)} (held out: {number(self.held_median)})"),
            ("nearer than 1 % of held out", f"{percent(self.near)}; chance {self.near_chance:.2g}"),
            ("equal to another sample", f"{percent(self.repeated)} (held out: {percent(self.held_repeated)})"),
            ("nearer to each other than 1 % of held out", f"{percent(self.crowded)}; chance {self.crowded_chance:.2g}"),
            ("nearest pair", f"sample {nearest.sample} and training row {nearest.row}, {nearest.distance:.4g} apart"),
        ]

    def advice(self) -> list[str]:
        """What the figures suggest, in plain sentences; nothing for a model that neither copies nor repeats itself."""
        said = []
        if self.near_chance < ALARM:
            nearest = self.worst[0]
            said.append(
                f"{self.near.value:.1%} of the samples are nearer to a training example than 1 % of held-out data are: "
                f"look at the nearest pairs, beginning with sample {nearest.sample} and training row {nearest.row}. If "
                "they are copies, the model has memorised: train it shorter, on more data, or with fewer latent "
                "dimensions. If not, its samples are simpler than the data, or of the kinds that lie close together"
            )
        if self.repeated.value - self.held_repeated.value > NEAR:
            said.append(
                f"{self.repeated.value:.1%} of the samples are equal to another one, and {self.held_repeated.value:.1%} of "
                "held-out data are: p(z) gives the decoder few places, or it ignores z; look at rate and active units"
            )
        elif self.crowded_chance < ALARM:
            said.append(
                f"{self.crowded.value:.1%} of the samples are nearer to another one than 1 % of held-out data are: the "
                "model makes some kinds of x too often; compare coverage and the rate with those of a better prior"
            )
        return said


def number(figure: Figure) -> str:
    """A distance with its error."""
    return f"{figure.value:.4g} ± {figure.stderr:.2g}"


def percent(figure: Figure) -> str:
    """A share with its error, in percent."""
    return f"{100 * figure.value:.2f} ± {100 * figure.stderr:.2f} %"


def memory(model: Model, data: Dataset, *, split: str = "test", n: int = 10_000, seed: int = 0) -> Memory:
    """Look for training examples among the samples of a model, and for samples that are too much alike.

    Everything is read alike, once, as a function of `seed`: binarised data in one fixed binarisation of each image. All of
    the training split is searched, in chunks. A conditional model is given the contexts of random training examples.

    A model that stores examples but puts noise of its own on them is noticed as far as the noise leaves them nearer than
    the nearest of held-out data; the medians then tell more than the share. Nothing is proved by a small chance: samples
    that are blurred, or of the simplest kinds alone, lie close to the training set too, which only a look at them tells.

    Args:
        model: what makes samples, `model.sample(n, context, seed=seed)`.
        data: what it was trained on.
        split: the held-out one.
        n: samples, and held-out examples; as many as the smaller of the two splits has, if that is fewer.
        seed: of everything random.

    Raises:
        SettingError: tables of mixed columns, which have no distance, or fewer than 100 examples.
    """
    if data.space.measure == "columns":
        raise SettingError(f"{data.name} has columns of several kinds, between which there is no distance; audit images")
    count = min(n, len(data.split(split)), len(data.train))
    if count < FEWEST:
        raise SettingError(f"{count} examples are too few to tell what is near; give at least {FEWEST}")
    x = drawn(model, data.train.sample(count, seed), seed)
    held, train = read_alike(data.split(split).sample(count, seed), x), read_alike(data.train, x)
    known, other = train.fixed(seed), held.fixed(seed)
    squares, places = nearest(x, known)
    held_squares = nearest(other, known)[0]
    among, held_among = nearest_other(x), nearest_other(other)
    threshold, near = _below(squares, held_squares)
    close, crowded = _below(among, held_among)
    worst = squares.argsort(stable=True)[:WORST].tolist()
    return Memory(
        data=data.name,
        split=held.name,
        fingerprint=train.digest().hex(),
        measure=train.reading.measure,
        training=len(train),
        held=count,
        n=count,
        seed=seed,
        threshold=threshold,
        near=share(near, count),
        near_chance=_chance(near, count),
        median=_median(squares),
        held_median=_median(held_squares),
        repeated=share(int((among == 0).sum()), count),
        held_repeated=share(int((held_among == 0).sum()), count),
        close=close,
        crowded=_of_pairs(share(crowded, count)),
        # the two of a close pair count together: half as many, of half as many
        crowded_chance=_chance(crowded / 2, count / 2),
        worst=tuple(Pair(i, int(places[i]), int(train.rows[places[i]]), float(squares[i])) for i in worst),
    )


def _below(found: Tensor, held: Tensor) -> tuple[float, float]:
    """The distance below which a share NEAR of `held` (M,) is, and how many of `found` (N,) are below it.

    Distances between binary images are whole numbers, so that many are equal to the threshold: of those the part counts
    that makes it NEAR among the held-out ones.
    """
    rank = NEAR * len(held)
    threshold = held.sort().values[ceil(rank - 1e-9) - 1]
    under, at = int((held < threshold).sum()), int((held == threshold).sum())
    part = (rank - under) / at
    return float(threshold), int((found < threshold).sum()) + part * int((found == threshold).sum())


def _chance(count: float, n: float) -> float:
    """The chance that at least `count` of `n` new examples are below the rank NEAR * n of as many others.

    That rank lies at a quantile of its own, which is Beta distributed, so that the count is beta-binomial.
    """
    rank, n = ceil(NEAR * n - 1e-9), int(n)
    a, b = float(rank), float(n + 1 - rank)
    k = torch.arange(int(count), n + 1, dtype=torch.float64)
    choose = lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    beta = torch.lgamma(k + a) + torch.lgamma(n - k + b) - lgamma(n + a + b)
    return min(float((choose + beta - lgamma(a) - lgamma(b) + lgamma(a + b)).logsumexp(0).exp()), 1.0)


def _of_pairs(figure: Figure) -> Figure:
    """The same share with the error that it has where examples come in pairs."""
    return replace(figure, stderr=2**0.5 * figure.stderr)


def _median(values: Tensor) -> Figure:
    """The median of (N,) values, with half the distance of the order statistics one standard error to either side."""
    ordered, n = values.sort().values, len(values)
    low, high = (min(max(round(n / 2 + sign * n**0.5 / 2), 0), n - 1) for sign in (-1, 1))
    return Figure(float(values.quantile(0.5)), float(ordered[high] - ordered[low]) / 2, n, "squared")
