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
from unveil.evaluation.figure import Figure, share
from unveil.evaluation.samples.drawn import drawn, held_out, read_alike
from unveil.evaluation.samples.nearest import nearest, nearest_other
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
    """A sample and the training example nearest to it, which it may be a copy of.

    Attributes:
        sample: which of `model.sample(n, context, seed=seed)`.
        position: of the example in the training split, and `row` its row in the source.
        distance: squared, between the two, and `ratio` its share of the squared distance to the second nearest.
    """

    sample: int
    position: int
    row: int
    distance: float
    ratio: float


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
        ratio: of the distances to the nearest and to the second nearest training example, below which 1 % of held-out
            examples are.
        copied: share of samples below it: those that one training example stands out for. A copy does so though there be
            noise on it, and however near to each other the examples of its kind are.
        copied_chance: chance of as large a share if samples were held-out data, not too small.
        median: of the samples' distances to the training set, and `held_median` of the held-out ones'.
        repeated: share of samples that are equal to another one, and `held_repeated` of held-out examples.
        close: the distance below which 1 % of held-out examples are to another one, as many as there are samples.
        crowded: share of samples nearer than that to another one.
        crowded_chance: chance of as large a share if samples were held-out data, not too small.
        worst: the samples of the smallest ratio, which are most like copies.
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
    ratio: float
    copied: Figure
    copied_chance: float
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
        worst = self.worst[0]
        return [
            ("examples", f"{self.n:,} samples and {held} against {self.training:,} training examples, {self.measure}"),
            ("distance to the training set, median", f"{number(self.median)} (held out: {number(self.held_median)})"),
            ("nearer than 1 % of held out", f"{percent(self.near)}; {chance(self.near_chance)}"),
            (
                "one of training stands out as for 1 % of held out",
                f"{percent(self.copied)}; {chance(self.copied_chance)}",
            ),
            ("equal to another sample", f"{percent(self.repeated)} (held out: {percent(self.held_repeated)})"),
            ("nearer to each other than 1 % of held out", f"{percent(self.crowded)}; {chance(self.crowded_chance)}"),
            ("most like a copy", f"sample {worst.sample} of training row {worst.row}, {worst.distance:.4g} apart"),
        ]

    def advice(self) -> list[str]:
        """What the figures suggest, in plain sentences; nothing for a model that neither copies nor repeats itself."""
        said = []
        worst = self.worst[0]
        pairs = f"look at the pairs in `worst`, beginning with sample {worst.sample} and training row {worst.row}"
        if self.copied_chance < ALARM:
            said.append(
                f"for {self.copied.value:.1%} of the samples one training example stands out as it does for 1 % of "
                f"held-out data, as if they were copies of it: {pairs}. A model that has memorised is to be trained "
                "shorter, on more data, or with fewer latent dimensions"
            )
        elif self.near_chance < ALARM:
            said.append(
                f"{self.near.value:.1%} of the samples are nearer to a training example than 1 % of held-out data are, and "
                f"no one example stands out: they are simpler than the data, or of kinds that lie close together; {pairs}"
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


def chance(value: float) -> str:
    """A chance, where it is not too small to tell from none."""
    return f"chance {value:.2g}" if value >= 1e-6 else "chance below 1e-6"


def percent(figure: Figure) -> str:
    """A share with its error, in percent."""
    return f"{100 * figure.value:.2f} ± {100 * figure.stderr:.2f} %"


def memory(model: Model, data: Dataset, *, split: str = "test", n: int = 10_000, seed: int = 0) -> Memory:
    """Look for training examples among the samples of a model, and for samples that are too much alike.

    Everything is read alike, once, as a function of `seed`: binarised data in one fixed binarisation of each image. All of
    the training split is searched, in chunks. A conditional model is given the contexts of random training examples.

    Two shares are held against the 1 % of held-out data: of samples that are nearer to the training set, and of samples
    that are much nearer to one training example than to any other. Both tell of copies; noise on a copy hides it from the
    first wherever others of its kind are as near, and a twin in the training set hides it from the second. Nothing is
    proved by the first alone: samples that are blurred, or of the simplest kinds, lie close to the training set too.

    Args:
        model: what makes samples, `model.sample(n, context, seed=seed)`.
        data: what it was trained on.
        split: the held-out one, not 'train'.
        n: samples, and held-out examples; as many as the smaller of the two splits has, if that is fewer.
        seed: of everything random.

    Raises:
        SettingError: tables of mixed columns, which have no distance, fewer than 100 examples, or the training split.

    Source: for the ratio, Gu et al. 2023, On Memorization in Diffusion Models, arXiv:2310.02664.
    """
    if data.space.measure == "columns":
        raise SettingError(f"{data.name} has columns of several kinds, between which there is no distance; audit images")
    apart = held_out(data, split)
    count = min(n, len(apart), len(data.train))
    if count < FEWEST:
        raise SettingError(f"{count} examples are too few to tell what is near; give at least {FEWEST}")
    x = drawn(model, data.train.sample(count, seed), seed)
    held, train = read_alike(apart.sample(count, seed), x), read_alike(data.train, x)
    known, other = train.fixed(seed), held.fixed(seed)
    (squares, places), (held_squares, _) = nearest(x, known), nearest(other, known)
    among, held_among = nearest_other(x), nearest_other(other)
    ratios, held_ratios = _ratio(squares), _ratio(held_squares)
    threshold, near = _below(squares[:, 0], held_squares[:, 0])
    ratio, copied = _below(ratios, held_ratios)
    close, crowded = _below(among, held_among)
    worst = [(i, int(places[i, 0])) for i in ratios.argsort(stable=True)[:WORST].tolist()]
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
        ratio=ratio,
        copied=share(copied, count),
        copied_chance=_chance(copied, count),
        median=_median(squares[:, 0]),
        held_median=_median(held_squares[:, 0]),
        repeated=share(int((among == 0).sum()), count),
        held_repeated=share(int((held_among == 0).sum()), count),
        close=close,
        crowded=_of_pairs(share(crowded, count)),
        # the two of a close pair count together: half as many, of half as many
        crowded_chance=_chance(crowded / 2, count / 2),
        worst=tuple(Pair(i, at, int(train.rows[at]), float(squares[i, 0]), float(ratios[i])) for i, at in worst),
    )


def _ratio(squares: Tensor) -> Tensor:
    """(N,) the first of two distances (N, 2) over the second; 1 where both are none, since neither stands out."""
    return torch.where(squares[:, 1] > 0, squares[:, 0] / squares[:, 1], 1.0)


def _below(found: Tensor, held: Tensor) -> tuple[float, float]:
    """The value below which a share NEAR of `held` (M,) is, and how many of `found` (N,) are below it.

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
