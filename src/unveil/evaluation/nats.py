"""How good a model is, in nats: -ELBO, and the importance-weighted estimate of -log p(x), each with its error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import log
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.machine import matrix_rate, operations
from unveil.models import Model
from unveil.randomness import reseed

ROWS = 4_000
"""Most values of z decoded at a time. Fewer cost more calls, more leave the cache: 1,000 and 8,000 take a fifth longer."""
NUMBERS = 784 * ROWS
"""Most numbers of x decoded at a time: large images come in fewer rows, so that 32 channels of them stay below 2 GB."""


class Watcher(Protocol):
    """Who wants to know how an evaluation goes."""

    def forecast(self, seconds: float) -> None:
        """Before it starts: how long it will take."""

    def done(self, images: int, total: int) -> None:
        """After each block of images."""


@dataclass(frozen=True)
class Nats:
    """What `evaluate` found, on one split.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        measure: of the data's space: what the nats are nats of.
        normalised: whether log p(x|z) is a log-likelihood of x; if not, the first figure is a cross-entropy + rate.
        samples: K, draws of z for each image.
        seed: of binarisation, of the noise and of the subset.
        neg_elbo: distortion + rate; an upper bound on -log p(x) in expectation. None under a posterior without density,
            whose rate is infinite, and so are rate, nll and ess.
        distortion: -log p(x|z) under q(z|x), the mean over K draws.
        rate: KL(q(z|x) || p(z)).
        nll: the importance-weighted estimate of -log p(x); None where there is no likelihood. exp(-nll) of an image is
            unbiased for p(x), hence nll is biased upwards, less so as K grows.
        ess: effective number of the K draws; near 1 the estimate rests on a single draw and cannot be trusted.
        precision: of the arithmetic.
        seconds: how long it took, and `matrix_share` which share of the machine's matrix rate it reached on the CPU.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    normalised: bool
    samples: int
    seed: int
    neg_elbo: Figure | None
    distortion: Figure
    rate: Figure | None
    nll: Figure | None
    ess: Figure | None
    precision: str
    threads: int
    seconds: float
    matrix_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return asdict(self)


def evaluate(
    model: Model,
    split: Split,
    *,
    data: str = "",
    samples: int = 500,
    images: int | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Nats:
    """Estimate how well `model` predicts a split.

    Every image is read once (one binarisation, kept across its K draws) and weighed with exactly K draws of z, in
    float32 and log space. Draws come in chunks under a running logsumexp, so memory does not grow with K.

    Args:
        model: what makes draws.
        split: the images; `unveil evaluate` takes the test split.
        data: the data's name, for the record.
        samples: K, at least 1.
        images: how many images to take, as a function of `seed`; None for all.
        seed: of everything random.
        watcher: told the forecast before it starts, and the progress.

    Raises:
        SettingError: K is below 1.
    """
    if samples < 1:
        raise SettingError(f"an estimate cannot have {samples} samples; give at least 1")
    chosen = split.sample(images, seed)
    device = next(iter(model.parameters())).device
    with in_evaluation(model), torch.no_grad():
        work, rate = _pilot(model, chosen, samples, seed, device)
        if watcher is not None:
            watcher.forecast(work.seconds * len(chosen))
        start = perf_counter()
        distortion, kl, log_p, ess = _weigh_all(model, chosen, samples, seed, device, watcher)
        seconds = perf_counter() - start
    rated = bool(kl.isfinite().any())
    estimable = model.normalised and rated and not bool(log_p.isposinf().all())
    return Nats(
        data=data,
        split=split.name,
        fingerprint=chosen.digest().hex(),
        measure=split.reading.measure,
        normalised=model.normalised,
        samples=samples,
        seed=seed,
        neg_elbo=Figure.over(distortion + kl) if rated else None,
        distortion=Figure.over(distortion),
        rate=Figure.over(kl) if rated else None,
        nll=Figure.over(-log_p) if estimable else None,
        ess=Figure.over(ess, "draws") if estimable else None,
        precision="float32",
        threads=torch.get_num_threads(),
        seconds=seconds,
        matrix_share=None if rate is None else work.operations * len(chosen) / seconds / rate,
    )


@dataclass(frozen=True)
class _Work:
    seconds: float  # for one image
    operations: float


def _pilot(model: Model, split: Split, samples: int, seed: int, device: torch.device) -> tuple[_Work, float | None]:
    """What one image costs, from the first block, and what the machine could do; no result depends on either."""
    batch = next(_blocks(split, samples, seed, device))
    count = operations(lambda: _weigh(model, batch, samples, seed, 0))
    start = perf_counter()
    _weigh(model, batch, samples, seed, 0)
    seconds = perf_counter() - start
    rate = matrix_rate() if device.type == "cpu" else None
    return _Work(seconds / len(batch.index), count / len(batch.index)), rate


def _rows(values: Tensor) -> int:
    """How many draws to decode at a time, for stored values (N, *event) or x alike."""
    return max(1, min(ROWS, NUMBERS // values[0].numel()))


def _blocks(split: Split, samples: int, seed: int, device: torch.device) -> Iterator[Batch]:
    for batch in split.batches(max(1, _rows(split.values) // samples), seed):
        yield batch.to(device)


def _weigh_all(
    model: Model, split: Split, samples: int, seed: int, device: torch.device, watcher: Watcher | None
) -> tuple[Tensor, ...]:
    """What `_weigh` finds for every image of a split, (N,) each."""
    found, done = [], 0
    for place, batch in enumerate(_blocks(split, samples, seed, device)):
        found.append(_weigh(model, batch, samples, seed, place))
        done += len(batch.index)
        if watcher is not None:
            watcher.done(done, len(split))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _weigh(model: Model, batch: Batch, samples: int, seed: int, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distortion, rate, log of the estimated p(x) and effective sample size of each image, (B,) each.

    The rate is infinite where q has no density, and so is the third where q does not cover p(z|x): there is no estimate.
    """
    size = len(batch.index)
    distortion, rate = torch.zeros(2, size, dtype=torch.float64)
    # in log space: weights near exp(-100) underflow float32
    total, square = torch.full((2, size), -torch.inf, dtype=torch.float64)
    rows = _rows(batch.x)
    for chunk, start in enumerate(range(0, samples, rows)):
        count = min(rows, samples - start)
        reseed(seed, "estimate", place, chunk, device=batch.x.device)
        draw = model.draw(batch, count)
        distortion += draw.distortion.cpu() * count / samples
        if not draw.rated:
            rate += torch.inf
            continue
        # a draw's mass is what it counts for within its chunk; undo its -log K for a mean over all chunks
        log_w = (draw.log_w + draw.log_mass).cpu().double() + log(count)
        total = torch.logaddexp(total, log_w.logsumexp(0))
        square = torch.logaddexp(square, (2 * log_w).logsumexp(0))
        rate += draw.rate.cpu() * count / samples
        if not draw.covers:
            total += torch.inf
    return distortion, rate, total - log(samples), (2 * total - square).exp()
