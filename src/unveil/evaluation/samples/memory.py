"""Whether a model repeats its training set, or itself: nearest neighbours of its samples in the space of x.

A sample is near to some training example or other even if nothing was memorised. What counts is whether samples are
nearer to the training set than held-out data are, which come from the same source and cannot have been memorised.

Distances are Euclidean, between entries in their places: a copy that is moved by a few pixels, or made darker, is as far
from its original as another image, and is not seen.

Source: Meehan et al. 2020, A Non-Parametric Test to Detect Data-Copying in Generative Models, arXiv:2004.05675, who hold
samples against held-out data by their distance to the training set, as is done here, and do it cell by cell of the space,
so that samples which are simpler than the data are not taken for copies, as is not done here; van den Burg & Williams
2021, On Memorization in Probabilistic Deep Generative Models, arXiv:2106.03216, for what distances miss.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.evaluation.figure import Figure, share
from unveil.evaluation.samples import chances
from unveil.evaluation.samples.drawn import drawn, held_out, read_alike
from unveil.evaluation.samples.nearest import nearest, nearest_other
from unveil.models import Model
from unveil.words import counted, number

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
        distance: squared, between the two, and `ratio` its share of the squared distance to the nearest that is another.
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
        training: training examples, of which `distinct` differ; `held` held-out ones, and `n` samples.
        seed: of the samples, of binarisation and of the subsets.
        exact: share of samples at no distance to a training example, which are its copies bit by bit, and `held_exact`
            that of held-out examples.
        exact_chance: chance of as many among the samples if they were held-out data, by Fisher's exact test.
        threshold: the distance below which 1 % of held-out examples are to the training set.
        near: share of samples below it; 1 % expected where nothing is memorised and samples are as data are.
        near_chance: chance of as large a share if samples were held-out data, not too small.
        ratio: of the squared distances to the nearest and to the second nearest of the distinct training examples, below
            which 1 % of held-out examples are.
        copied: share of samples below it: those that one training example stands out for. A copy does so though there be
            noise on it, and however near to each other the examples of its kind are.
        copied_chance: chance of as large a share if samples were held-out data, not too small.
        median: of the samples' distances to the training set, and `held_median` of the held-out ones'.
        repeated: share of samples that are equal to another one, and `held_repeated` of held-out examples.
        repeated_chance: chance of as large a share in a random order of samples and held-out examples.
        close: the distance below which 1 % of held-out examples are to another one, as many as there are samples.
        crowded: share of samples nearer than that to another one.
        crowded_chance: chance of as large a share if samples were held-out data, not too small.
        unseen: share of the samples that may be copies with noise on them before `copied_chance` raises an alarm, and
            `unseen_exact` the same of bit by bit copies where none of the held-out data is one.
        worst: samples that are most like copies: those at no distance first, then those of the smallest ratio.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    training: int
    distinct: int
    held: int
    n: int
    seed: int
    exact: Figure
    held_exact: Figure
    exact_chance: float
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
    repeated_chance: float
    close: float
    crowded: Figure
    crowded_chance: float
    unseen: float
    unseen_exact: float
    worst: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """Name and value of each figure, with its error and what held-out data give."""
        held = f"{self.held:,} of {self.data} {self.split}"
        twice = f" ({self.distinct:,} of them distinct)" if self.distinct < self.training else ""
        worst = self.worst[0]
        return [
            (
                "examples",
                f"{self.n:,} samples and {held} against {self.training:,} training examples{twice}, {self.measure}",
            ),
            ("distance to the training set, median", f"{_distance(self.median)} (held out: {_distance(self.held_median)})"),
            (
                "equal to a training example",
                f"{percent(self.exact)} (held out: {percent(self.held_exact)}); {chances.text(self.exact_chance)}",
            ),
            ("nearer than 1 % of held out", f"{percent(self.near)}; {chances.text(self.near_chance)}"),
            (
                "one of training stands out as for 1 % of held out",
                f"{percent(self.copied)}; {chances.text(self.copied_chance)}",
            ),
            (
                "equal to another sample",
                f"{percent(self.repeated)} (held out: {percent(self.held_repeated)}); {chances.text(self.repeated_chance)}",
            ),
            ("nearer to each other than 1 % of held out", f"{percent(self.crowded)}; {chances.text(self.crowded_chance)}"),
            (
                "copies that stay unseen",
                f"up to {self.unseen_exact:.2%} of the samples bit by bit, up to {self.unseen:.2%} with noise on them",
            ),
            (
                "most like a copy",
                f"sample {worst.sample} of row {worst.row} of the source, {number(worst.distance, 4)} apart",
            ),
        ]

    def advice(self) -> list[str]:
        """What the figures suggest, in plain sentences; nothing for a model that neither copies nor repeats itself."""
        said = []
        worst = self.worst[0]
        pairs = f"look at the pairs in `worst`, beginning with sample {worst.sample} and training row {worst.row}"
        cure = "A model that has memorised is to be trained shorter, on more data, or with fewer latent dimensions"
        if self.exact_chance < ALARM:
            said.append(
                f"{self.exact.value:.1%} of the samples are equal to a training example, and {self.held_exact.value:.1%} "
                f"of held-out data are: they are copies; {pairs}. {cure}"
            )
        elif self.copied_chance < ALARM:
            said.append(
                f"for {self.copied.value:.1%} of the samples one training example stands out as it does for 1 % of "
                f"held-out data, as if they were copies of it: {pairs}. {cure}"
            )
        elif self.near_chance < ALARM:
            said.append(
                f"{self.near.value:.1%} of the samples are nearer to a training example than 1 % of held-out data are, and "
                f"no one example stands out: they are simpler than the data, or of kinds that lie close together; {pairs}"
            )
        if self.repeated.value - self.held_repeated.value > NEAR and self.repeated_chance < ALARM:
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


def _distance(figure: Figure) -> str:
    """A distance with its error."""
    return f"{number(figure.value, 4)} ± {number(figure.stderr, 2)}"


def percent(figure: Figure) -> str:
    """A share with its error, in percent."""
    return f"{100 * figure.value:.2f} ± {100 * figure.stderr:.2f} %"


def memory(model: Model, data: Dataset, *, split: str = "test", n: int = 10_000, seed: int = 0) -> Memory:
    """Look for training examples among the samples of a model, and for samples that are too much alike.

    Everything is read alike, once, as a function of `seed`: binarised data in one fixed binarisation of each image. All of
    the training split is searched, in chunks. A conditional model is given the contexts of random training examples.

    Samples at no distance to a training example are copies where held-out data are none. Two more shares are held against
    the 1 % of held-out data: of samples that are nearer to the training set, and of samples
    that are much nearer to one training example than to any other. Both tell of copies; noise on a copy hides it from the
    first wherever others of its kind are as near, and a twin in the training set hides it from the second. Nothing is
    proved by the first alone: samples that are blurred, or of the simplest kinds, lie close to the training set too.
    Examples that are stored twice count once as neighbours; ones that are nearly equal do not, and hide a copy from the
    second. No statistic sees a few copies among many samples, and the record says how few (`unseen`).

    Args:
        model: what makes samples, `model.sample(n, context, seed=seed)`.
        data: what it was trained on.
        split: the held-out one, not 'train'.
        n: samples, and held-out examples; as many as the smaller of the two splits has, if that is fewer.
        seed: of everything random.

    Raises:
        SettingError: tables of mixed columns, which have no distance, fewer than 100 examples, or the training split.

    Source: for the ratio, Yoon et al. 2023, Diffusion Probabilistic Models Generalize when They Fail to Memorize (ICML
    workshop on Structured Probabilistic Inference & Generative Modeling), whom Gu et al. 2023, On Memorization in Diffusion
    Models, arXiv:2310.02664, follow: they call a sample memorised where its distance is less than a third of that to the
    second nearest. Here distances are squared, and the bound is not a third but what 1 % of held-out data fall below.
    """
    if data.space.measure == "columns":
        raise SettingError(f"{data.name} has columns of several kinds, between which there is no distance; audit images")
    apart = held_out(data, split)
    count = min(n, len(apart), len(data.train))
    if count < FEWEST:
        raise SettingError(f"{counted(count, 'example')} cannot tell what is near; give at least {FEWEST}")
    x = drawn(model, data.train.sample(count, seed), seed)
    held, train = read_alike(apart.sample(count, seed), x), read_alike(data.train.in_memory(), x)
    known, other = train.fixed(seed), held.fixed(seed)
    # one binarised image has two readings where it is stored twice: what is stored says which are the same
    kept = chances.distinct(train.values[:])
    (squares, places), (held_squares, _) = nearest(x, known[kept]), nearest(other, known[kept])
    places, exact = kept[places], [int((found[:, 0] == 0).sum()) for found in (squares, held_squares)]
    among, held_among = nearest_other(x), nearest_other(other)
    ratios, held_ratios = _ratio(squares), _ratio(held_squares)
    threshold, near = chances.below(squares[:, 0], held_squares[:, 0], NEAR)
    ratio, copied = chances.below(ratios, held_ratios, NEAR)
    close, crowded = chances.below(among, held_among, NEAR)
    likest = torch.where(squares[:, 0] > 0, ratios, -1.0).argsort(stable=True)
    worst = [(i, int(places[i, 0])) for i in likest[:WORST].tolist()]
    return Memory(
        data=data.name,
        split=held.name,
        fingerprint=train.digest().hex(),
        measure=train.reading.measure,
        training=len(train),
        distinct=len(kept),
        held=count,
        n=count,
        seed=seed,
        exact=share(exact[0], count),
        held_exact=share(exact[1], count),
        exact_chance=chances.chance_more(exact[0], exact[1], count),
        threshold=threshold,
        near=share(near, count),
        near_chance=chances.chance_below(near, count, NEAR),
        ratio=ratio,
        copied=share(copied, count),
        copied_chance=chances.chance_below(copied, count, NEAR),
        median=_median(squares[:, 0]),
        held_median=_median(held_squares[:, 0]),
        repeated=share(int((among == 0).sum()), count),
        held_repeated=share(int((held_among == 0).sum()), count),
        repeated_chance=chances.chance_repeated(x, other, seed),
        close=close,
        crowded=_of_pairs(share(crowded, count)),
        # the two of a close pair count together: half as many, of half as many
        crowded_chance=chances.chance_below(crowded / 2, count / 2, NEAR),
        unseen=(chances.fewest(count, lambda k: chances.chance_below(k, count, NEAR), ALARM) - 1) / count,
        unseen_exact=(chances.fewest(count, lambda k: chances.chance_more(k, 0, count), ALARM) - 1) / count,
        worst=tuple(Pair(i, at, int(train.rows[at]), float(squares[i, 0]), float(ratios[i])) for i, at in worst),
    )


def _ratio(squares: Tensor) -> Tensor:
    """(N,) the first of two distances (N, 2) over the second; 1 where both are none, since neither stands out."""
    return torch.where(squares[:, 1] > 0, squares[:, 0] / squares[:, 1], 1.0)


def _of_pairs(figure: Figure) -> Figure:
    """The same share with the error that it has where examples come in pairs."""
    return replace(figure, stderr=2**0.5 * figure.stderr)


def _median(values: Tensor) -> Figure:
    """The median of (N,) values, with half the distance of the order statistics one standard error to either side."""
    ordered, n = values.sort().values, len(values)
    low, high = (min(max(round(n / 2 + sign * n**0.5 / 2), 0), n - 1) for sign in (-1, 1))
    return Figure(float(values.quantile(0.5)), float(ordered[high] - ordered[low]) / 2, n, "squared")
