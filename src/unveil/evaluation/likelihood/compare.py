"""Which of several models is better, judged image by image, and which differences are real.

Some images are hard for every model, so that the values of two models rise and fall together. The difference of each
image varies far less than the values do, and its mean is known that much better: two models whose intervals overlap may
well differ. Intervals here are of mean differences over images, paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, isfinite
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.contender import Contender, cautions, check_alike, table_of
from unveil.evaluation.tails import student_quantile, student_tails
from unveil.randomness import generator
from unveil.words import number

RESAMPLES = 10_000
"""Resampled means of an interval; the ends of a 95 % one then move by 1 % of its width with the seed."""
NUMBERS = 2_000_000
"""Most images drawn at a time."""
FEW = 50
"""With fewer images an interval of a mean covers less than it says."""
POWER = 0.8
"""How often a difference of the size seen would be told with as many images as `advice` asks for."""
NORMAL = NormalDist()

Verdict = Literal["real", "perhaps", "not told", "none"]
"""'real': the interval leaves zero out, and the corrected p-value is below 1 - level. 'perhaps': the interval leaves zero
out, and by the corrected p-value that may be chance. 'not told': zero lies in the interval. 'none': the two have the same
value for every image."""


@dataclass(frozen=True)
class Difference:
    """How far one model is ahead of another.

    Attributes:
        better: the model with the smaller mean on these images, and `worse` the other.
        gap: the mean over images of what `worse` has more than `better`, with its paired standard error.
        interval: where the mean difference over all such images lies, by a bootstrap of pairs (BCa).
        t_interval: the same by Student's t, in closed form: far from the other where images are too few or too unlike.
        correlation: of the two models' values over images; NaN where one of them is constant.
        unpaired: the standard error that the difference would have between two sets of other images.
        wins: share of images on which `better` has the smaller value, ties counted half.
        p_value: of no difference, by the paired t test, and `corrected` by Holm for all comparisons.
        verdict: one word.
    """

    better: str
    worse: str
    gap: Figure
    interval: tuple[float, float]
    t_interval: tuple[float, float]
    correlation: float
    unpaired: float
    wins: float
    p_value: float
    corrected: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        quantity: what was compared, and `split`, `fingerprint`, `reading` and `read_by` what it was computed on.
        samples: K of each model, by name.
        figures: the mean of each model, the best one first.
        differences: of the pairs that were asked for, `compared` how many pairs the correction counts.
        level: of the intervals, each by itself; and of the verdicts, all together.
        resamples: of the bootstrap, and its `seed`.
        cautions: what makes the values less than comparable.
    """

    quantity: str
    split: str
    fingerprint: str
    reading: str
    read_by: int | None
    samples: dict[str, int]
    figures: dict[str, Figure]
    differences: tuple[Difference, ...]
    compared: int
    level: float
    resamples: int
    seed: int
    cautions: tuple[str, ...]

    def table(self) -> list[tuple[str, str]]:
        """Names and values to print: the models, the best one first, and then the differences."""
        rows = [(name, f"{self.quantity} {figure}") for name, figure in self.figures.items()]
        for one in self.differences:
            low, high = one.interval
            rows.append(
                (
                    f"{one.worse} - {one.better}",
                    f"{one.gap.value:,.3f} ± {one.gap.stderr:,.3f} nats, {self.level:.0%} from {low:,.3f} to {high:,.3f}, "
                    f"p = {number(one.corrected, 2)}: {one.verdict}",
                )
            )
        return rows

    def advice(self) -> list[str]:
        """What follows, and what to be careful about."""
        best = next(iter(self.figures))
        beside = [one.worse for one in self.differences if one.better == best and one.verdict != "real"]
        said = [
            f"{best} is best, by differences that are real"
            if not beside
            else f"{best} has the smallest mean, and is not told from {', '.join(beside)}"
        ]
        said += [sentence for one in self.differences if (sentence := self._needed(one))]
        if any(one.verdict == "real" for one in self.differences):
            said.append(
                "a real difference is one between these trained models; to tell methods apart, train from several seeds"
            )
        n = next(iter(self.figures.values())).n
        if n < FEW:
            said.append(f"n = {n}, which is few: these intervals cover less than they say; take {FEW} or more")
        if self.compared > 1:
            said.append(f"p-values are corrected by Holm for {self.compared} comparisons; intervals stand each by itself")
        return [*said, *self.cautions]

    def _needed(self, one: Difference) -> str | None:
        """How many images would tell a difference of the size seen."""
        if one.verdict in ("real", "none") or not one.gap.value > 0:
            return None
        # Holm's first step, which all of its steps are at most as strict as
        sides = NORMAL.inv_cdf(1 - (1 - self.level) / 2 / self.compared) + NORMAL.inv_cdf(POWER)
        images = one.gap.n * (sides * one.gap.stderr / one.gap.value) ** 2
        if not isfinite(images):
            return None
        return (
            f"{one.better} and {one.worse}: a difference of {one.gap.value:,.3f} nats, if there is one, takes about "
            f"{float(f'{images:.2g}'):,.0f} examples to tell"
        )


def compare(
    contenders: Sequence[Contender],
    *,
    pairs: Literal["all", "best"] = "all",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare models by their values on the very same images.

    Intervals come from a bootstrap of images with the bias-corrected and accelerated method (BCa): where a model fails on
    a few images the differences are skewed, for which a percentile interval is wrong in each tail by the order of
    1 / sqrt(N) and this one by that of 1 / N, and for a mean its acceleration has a closed form. Verdicts take the p-value
    of the paired t test, which needs no resamples far out in the tail, corrected by Holm for all pairs: also where the
    others are compared to the best alone, since which one that is was seen on these images. What is uncertain is the
    mean over further images like these, noise of each image's estimate included, and not the training.

    Args:
        contenders: the models' values, at least two.
        pairs: 'all', or every other model against the 'best', the one with the smallest mean.
        level: of intervals and verdicts, between 0 and 1.
        resamples: of the bootstrap, at least 100.
        seed: of the bootstrap.

    Raises:
        SettingError: values that cannot be compared, or settings that cannot be.

    Source: Efron 1987, Better Bootstrap Confidence Intervals, JASA 82; Holm 1979, A Simple Sequentially Rejective Multiple
    Test Procedure.
    """
    check_alike(contenders)
    if not 0 < level < 1:
        raise SettingError(f"an interval cannot hold with probability {level}; give a level between 0 and 1, such as 0.95")
    if resamples < 100:
        raise SettingError(f"{resamples} resamples have no tails; give at least 100")
    means = [float(one.values.double().mean()) for one in contenders]
    ranked = [contenders[place] for place in sorted(range(len(means)), key=means.__getitem__)]
    table = table_of(ranked)
    resampled = bootstrap(table, resamples, seed)
    every = list(combinations(range(len(ranked)), 2))
    tails = [_t_test(table[:, b] - table[:, a]) for a, b in every]
    corrected = dict(zip(every, holm(tails), strict=True))
    chosen = every if pairs == "all" else [pair for pair in every if pair[0] == 0]
    differences = tuple(
        _difference(ranked[a], ranked[b], resampled[:, b] - resampled[:, a], corrected[a, b], level) for a, b in chosen
    )
    first = ranked[0]
    return Comparison(
        first.quantity,
        first.split,
        first.fingerprint,
        first.reading,
        first.read_by,
        {one.name: one.samples for one in ranked},
        {one.name: Figure.over(one.values) for one in ranked},
        differences,
        len(every),
        level,
        resamples,
        seed,
        tuple(cautions(ranked)),
    )


def _difference(better: Contender, worse: Contender, resampled: Tensor, corrected: float, level: float) -> Difference:
    """Of two contenders, given resampled means (R,) of their difference and its corrected p-value."""
    gaps = worse.values.double() - better.values.double()
    gap = Figure.over(gaps)
    interval = bca(gaps, resampled, level)
    reach = student_quantile(level, gap.n - 1) * gap.stderr
    p_value = _t_test(gaps)
    outside = not interval[0] <= 0 <= interval[1]
    verdict: Verdict = "real" if outside and corrected < 1 - level else "perhaps" if outside else "not told"
    return Difference(
        better=better.name,
        worse=worse.name,
        gap=gap,
        interval=interval,
        t_interval=(gap.value - reach, gap.value + reach),
        correlation=float(torch.corrcoef(torch.stack([better.values.double(), worse.values.double()]))[0, 1]),
        unpaired=float(((better.values.double().var() + worse.values.double().var()) / gap.n).sqrt()),
        wins=float((gaps > 0).double().mean() + 0.5 * (gaps == 0).double().mean()),
        p_value=p_value,
        corrected=corrected,
        verdict=verdict if bool(gaps.any()) else "none",
    )


def _t_test(gaps: Tensor) -> float:
    """p of no difference in the mean of `gaps` (N,), by the paired t test."""
    mean, error = float(gaps.mean()), float(gaps.std() / len(gaps) ** 0.5)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return student_tails(mean / error, len(gaps) - 1)


def bootstrap(table: Tensor, resamples: int, seed: int) -> Tensor:
    """(R, M) means of `table` (N, M) over N of its rows drawn with replacement, the same rows for every column.

    The rows depend on N, R and `seed` alone, so that an interval does not depend on who else is compared.
    """
    n = len(table)
    source = generator(seed, "bootstrap", n, resamples)
    columns = [column.contiguous() for column in table.unbind(1)]
    parts, size = [], max(1, NUMBERS // n)
    for start in range(0, resamples, size):
        rows = torch.randint(n, (min(size, resamples - start), n), generator=source)
        parts.append(torch.stack([column[rows].mean(1) for column in columns], 1))
    return torch.cat(parts)


def bca(values: Tensor, resampled: Tensor, level: float) -> tuple[float, float]:
    """The bias-corrected and accelerated interval of the mean of `values` (N,), given resampled means (R,).

    Source: Efron 1987, Better Bootstrap Confidence Intervals, JASA 82.
    """
    centred = values - values.mean()
    spread = float(centred.square().sum())
    if spread == 0:
        return float(values.mean()), float(values.mean())
    acceleration = float((centred**3).sum()) / (6 * spread**1.5)
    ordered, count, mean = resampled.sort().values, len(resampled), values.mean()
    below = float((ordered < mean).sum() + 0.5 * (ordered == mean).sum())
    bias = NORMAL.inv_cdf(min(max(below, 0.5), count - 0.5) / count)

    def end(p: float) -> float:
        shifted = bias + NORMAL.inv_cdf(p)
        share = NORMAL.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-9))
        return float(ordered[min(max(ceil(share * count) - 1, 0), count - 1)])

    return end((1 - level) / 2), end((1 + level) / 2)


def holm(tails: Sequence[float]) -> list[float]:
    """p-values corrected so that P(any true null below alpha) <= alpha, however they depend on each other, in their order.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6.
    """
    corrected, reached = [0.0] * len(tails), 0.0
    for rank, place in enumerate(sorted(range(len(tails)), key=tails.__getitem__)):
        reached = max(reached, min(1.0, (len(tails) - rank) * tails[place]))
        corrected[place] = reached
    return corrected
