"""How good a model is, in nats: -ELBO, and the importance-weighted estimate of -log p(x), each with its errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import isfinite, log
from typing import Any

import torch
from torch import Tensor

from unveil.data import Split
from unveil.errors import SettingError, option
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.contender import MANY
from unveil.evaluation.likelihood.weigh import Cost, curve_points, weigh
from unveil.evaluation.names import cost_name
from unveil.evaluation.watching import Ledger, Watcher
from unveil.models import Model
from unveil.words import number

COUNTED = ("binary", "levels", "count")
"""Measures under which log p(x) is the logarithm of a probability, so that bits make sense."""
FEW = 10.0
"""Effective draws below which an image's estimate rests on a few weights, and its stated noise on fewer."""


@dataclass(frozen=True)
class Point:
    """The estimate that k draws give: `nll`, whose expectation falls towards -log p(x) as k = `samples` grows."""

    samples: int
    nll: Figure


@dataclass(frozen=True)
class Nats:
    """What `evaluate` found, on one split.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        measure: of the data's space: what the nats are nats of.
        reading: how stored values became x, and `read_by` the seed of that; None where it is not random.
        told: whether the model was given the labels, so that its nats are those of x given y.
        bounded: whether p(z) is known by a noisy lower bound alone, that of a second stage: rate, neg_elbo and nll are then
            upper bounds in expectation, however many draws there are.
        normalised: whether log p(x|z) is a log-likelihood of x; if not, the first figure is a cross-entropy + rate.
        samples: K, draws of z for each image, and `defensive` the share of these that did not come from q(z|x).
        seed: of binarisation, of the noise and of the subset.
        neg_elbo: distortion + rate; an upper bound on -log p(x) in expectation. None under a posterior without density,
            whose rate is infinite, and so are rate, nll and ess.
        distortion: -log p(x|z) under q(z|x), the mean over K draws.
        rate: KL(q(z|x) || p(z)).
        nll: the importance-weighted estimate of -log p(x); None where there is no likelihood. exp(-nll) of an image is
            unbiased for p(x), hence nll is biased upwards, less so as K grows.
        bias: what K draws gained over K / 2, by which nll still lies too high: by about that where the bias falls as 1 / K,
            as it does once effective draws are many (`settled`), else by more, since it falls more slowly. None at K = 1.
        curve: the same for smaller numbers of draws: where it has not flattened, more draws would lower nll further.
        bits_per_dim: nll by the number of entries of x, in bits; None where x is not counted.
        ess: effective number of the K draws; near 1 the estimate rests on a single draw and cannot be trusted.
        few: share of images with fewer than 10 effective draws.
        precision: of the arithmetic.
        seconds: how long it took, and `matrix_share` which share of the machine's matrix rate it reached on the CPU.
        values: what the figures are means of, (N,) float64 each: 'row', 'distortion', 'neg_elbo', 'nll', 'ess'; empty where
            they were left out of a report that travels.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    reading: str
    read_by: int | None
    told: bool
    bounded: bool
    normalised: bool
    samples: int
    defensive: float
    seed: int
    neg_elbo: Figure | None
    distortion: Figure
    rate: Figure | None
    nll: Figure | None
    bias: Figure | None
    curve: tuple[Point, ...]
    bits_per_dim: Figure | None
    ess: Figure | None
    few: float | None
    precision: str
    threads: int
    seconds: float
    matrix_share: float | None
    values: dict[str, Tensor] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json, without `values`."""
        plain = asdict(replace(self, values={}))
        del plain["values"]
        return plain

    def table(self) -> list[tuple[str, str]]:
        """Names and figures, as the terminal prints them."""
        rows: list[tuple[str, object]] = [("  distortion", self.distortion)]
        if self.rate is not None:
            rows.insert(0, (cost_name(self.normalised), self.neg_elbo))
            rows.append(("  rate", self.rate))
        x, mixed = "x|y" if self.told else "x", f", {self.defensive:.0%} defensive" if self.defensive else ""
        for point in self.curve:
            rows.append((f"-log p({x}), K = {point.samples:,}{mixed}", point.nll))
        if self.nll is not None and self.nll.estimator is not None:
            high = ""
            if self.bias is not None and isfinite(self.bias.value):
                nearly = "about" if self.settled else "at least"
                high = f", and {nearly} {number(max(self.bias.value, 0.0), 2)} too high"
            rows[-1] = (rows[-1][0], f"{self.nll}, of which ± {number(self.nll.estimator, 2)} by the draws{high}")
        if self.nll is not None:
            rows.append(("  effective draws", self.ess))
        if self.bits_per_dim is not None:
            rows.append(("bits per dimension", f"{self.bits_per_dim.pair()} bits (n = {self.bits_per_dim.n:,})"))
        return [(name, str(figure)) for name, figure in rows]

    @property
    def settled(self) -> bool:
        """Whether the bias of nll falls as 1 / K: all but a few examples have effective draws enough.

        To first order the bias is the variance of the mean weight over twice its square, 1 / (2 ess), which twice the draws
        halve. Where a few weights outweigh all others each doubling gains about as much as the one before.
        """
        return self.few is not None and self.few <= MANY

    def advice(self) -> list[str]:
        """What a reader of the figures should know."""
        said = []
        if self.rate is None:
            said.append("the posterior has no density: its rate is infinite, and log p(x) has no estimate")
        elif self.nll is None and self.normalised:
            said.append(
                "the posterior chooses one z with certainty: -ELBO bounds -log p(x), and weights of draws can tell no more"
            )
        if self.told:
            said.append("the model is told the label y: these are nats of x given y, which a model of x alone cannot reach")
        if self.bounded:
            said.append(
                "p(z) of a second stage is known by a bound alone: rate, -ELBO and -log p(x) are upper bounds, for any K"
            )
        if self.nll is not None and not isfinite(self.nll.value) and self.values:
            said.append(
                f"{int(self.values['nll'].isposinf().sum()):,} of {self.nll.n:,} examples have no draw that prior and "
                "likelihood allow, so that their -log p(x) is infinite: see that x lies in the likelihood's support"
            )
        if not self.normalised:
            said.append(
                "gray values have no likelihood here: this is the expected -ELBO of the binarised image, seen in gray"
            )
        if self.few is not None and not self.settled and self.samples > FEW:
            said.append(
                f"{self.few:.0%} of the examples have fewer than {FEW:.0f} effective draws of {self.samples:,}: take the "
                "estimate for an upper bound, which is less sure than its errors say; annealed sampling, "
                f"{option('also', 'annealing')}, can do better"
            )
        return said


def evaluate(
    model: Model,
    split: Split,
    *,
    data: str = "",
    samples: int = 500,
    images: int | None = None,
    seed: int = 0,
    defensive: float = 0.0,
    watcher: Watcher | None = None,
    ledger: Ledger | None = None,
    identity: str = "",
) -> Nats:
    """Estimate how well `model` predicts a split.

    Every image is read once and weighed with exactly K draws of z, in float32 and log space. Draws come in chunks, so
    memory does not grow with K.

    Args:
        model: what makes draws.
        split: the images; `unveil evaluate` takes the test split.
        data: the data's name, for the record.
        samples: K, at least 1.
        images: how many images to take, as a function of `seed`; None for all.
        seed: of everything random.
        defensive: share of the K draws that come from p(z) and from near the best of some draws of it instead of q(z|x),
            below 1: then no peak of p(z|x) is missed for good where z has few dimensions, and the estimate of -log p(x)
            stays what it says. 0 for the usual estimate.
        watcher: told the forecast before it starts, and the progress.
        ledger: where it is put down on the way, so that it can go on after it was stopped.
        identity: of the model's weights, for the ledger: the same for the same weights alone.

    Raises:
        SettingError: K is below 1, figures that are not a number, or a model that has no such mixture.
    """
    if samples < 1:
        raise SettingError(f"an estimate cannot have {samples} samples; give at least 1")
    if not 0 <= defensive < 1 or round(defensive * samples) == samples:
        raise SettingError(f"a share of {defensive} of {samples} draws leaves q(z|x) none; give at least 0 and below 1")
    chosen = split.sample(images, seed).untold()
    with in_evaluation(model), torch.no_grad():
        found, cost = weigh(model, chosen, samples, seed, watcher, ledger, identity, defensive)
    return _record(model, chosen, found, cost, data, samples, defensive, seed)


def _record(
    model: Model, split: Split, found: dict[str, Tensor], cost: Cost, data: str, samples: int, defensive: float, seed: int
) -> Nats:
    distortion, rate, log_p = found["distortion"], found["rate"], found["log_p"]
    rated, covers = bool(found["rated"].all()), bool(found["covers"].all())
    wrong = int((distortion.isnan() | (rate.isnan() if rated else False)).sum())
    if wrong:
        raise SettingError(
            f"the nats of {wrong:,} of {len(split):,} examples are not a number; see that the weights and x are finite"
        )
    estimable = model.normalised and rated and covers
    values = {"row": split.rows.double(), "distortion": distortion}
    if rated:
        values["neg_elbo"] = distortion + rate
    if estimable:
        values |= {"nll": -log_p, "ess": found["ess"]}
    curve = tuple(
        Point(k, Figure.over(-found["curve"][:, place], noise=found["noise"][:, place]))
        for place, k in enumerate(curve_points(samples))
    )
    nll = curve[-1].nll if estimable else None
    bits = 1 / (log(2) * split.values[0].numel())
    return Nats(
        data=data,
        split=split.name,
        fingerprint=split.digest().hex(),
        measure=split.reading.measure,
        reading=str(split.reading),
        read_by=seed if split.reading.random else None,
        told=split.told,
        bounded=bool(found["bounded"].any()),
        normalised=model.normalised,
        samples=samples,
        defensive=defensive,
        seed=seed,
        neg_elbo=Figure.over(values["neg_elbo"]) if rated else None,
        distortion=Figure.over(distortion),
        rate=Figure.over(rate) if rated else None,
        nll=nll,
        bias=Figure.over(found["gain"]) if nll is not None and samples > 1 else None,
        curve=curve if estimable else (),
        bits_per_dim=nll.scaled(bits, "bits") if nll is not None and split.reading.measure in COUNTED else None,
        ess=Figure.over(found["ess"], "draws") if estimable else None,
        few=float((found["ess"] < FEW).double().mean()) if estimable else None,
        precision="float32",
        threads=torch.get_num_threads(),
        seconds=cost.seconds,
        matrix_share=cost.share,
        values=values,
    )
