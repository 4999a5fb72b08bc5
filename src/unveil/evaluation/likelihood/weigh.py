"""Importance weights of every image of a split: what each estimate of -log p(x) with K draws is made of.

Every image is read once (one binarisation, kept across its K draws) and weighed with exactly K draws of z, in float32;
sums over draws are taken in float64 and log space. What a block of images gives is a function of (weights, seed, place of
the block), so a weighing that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.evaluation.likelihood.defensive import Defence
from unveil.evaluation.likelihood.drawing import block_size, blocks, chunks, counts
from unveil.evaluation.machine import matrix_rate, operations
from unveil.evaluation.watching import Ledger, Watcher
from unveil.models import Model
from unveil.parts.two_stage import Bounded
from unveil.randomness import generator

PURPOSE = "estimate"
"""Of the noise, beside the seed and the place of a block."""
FORMAT = 2
"""Of what is put down; another one is not gone on with."""
PARTS = 50
"""How many times a weighing is put down on the way."""
STEPS = (1, 2, 5)
"""Numbers of draws in each power of ten at which the curve of estimates has points."""


@dataclass(frozen=True)
class Cost:
    """What a weighing took, which no result depends on.

    Attributes:
        seconds: of the weighing, the time before it was stopped included.
        share: of the CPU's rate of float32 matrix products, that was reached by this call; None on other devices.
    """

    seconds: float
    share: float | None


def curve_points(samples: int) -> list[int]:
    """1, 2, 5, 10, 20, ... below K = `samples`, and K."""
    tens = range(len(str(samples)))
    return sorted({step * 10**ten for ten in tens for step in STEPS if step * 10**ten < samples} | {samples})


def weigh(
    model: Model,
    split: Split,
    samples: int,
    seed: int,
    watcher: Watcher | None = None,
    ledger: Ledger | None = None,
    identity: str = "",
    defensive: float = 0.0,
) -> tuple[dict[str, Tensor], Cost]:
    """Weigh every image of a split with K draws. The caller sets mode, gradients and random state aside.

    Args:
        model: on its device.
        split: the images.
        samples: K.
        seed: of readings and noise.
        watcher: told the forecast before it starts, and the progress.
        ledger: where it is put down on the way.
        identity: of the model's weights, for the ledger.
        defensive: share of the draws that do not come from q(z|x).

    Returns:
        For every image, float64 on the CPU: 'distortion' and 'rate', (N,); 'log_p' (N,), log of the mean weight; 'ess'
        (N,), the effective number of draws, 0 where all weights are; 'rated', 'covers' and 'bounded' (N,) bool, whether q
        has a density, is no single point, and whether p(z) is known by a bound alone: rate and log_p mean nothing without
        the first two; 'curve' and 'noise' (N, P), the log of the mean of k weights for each k of `curve_points`, averaged
        over K // k groups of draws, and the variance of that; 'gain' (N,), by how much log_p exceeds what half of the draws
        give, NaN where either is infinite; with how long it takes.
    """
    device = next(iter(model.parameters())).device
    size = block_size(split, samples)
    count = -(-len(split) // size)
    key = _key(split, f"{identity} {samples} {seed} {size} {defensive}")
    found = dict(ledger.recall(key)) if ledger is not None else {}
    before = float(found.pop("seconds", torch.zeros(())))
    done = len(found["rate"]) // size if found else 0
    left = max(0, len(split) - done * size)
    look = partial(weights, model, defensive=defensive)
    seconds, work = _pilot(partial(look, next(blocks(split, samples, seed, device))[1], samples, seed, PURPOSE, 0))
    each = left / min(size, len(split))  # so many of the first block are left
    if watcher is not None:
        watcher.forecast("nats", seconds * each, len(split) - left)
    start = perf_counter()
    parts = [found] if found else []
    for place, batch in blocks(split, samples, seed, device, start=done):
        parts.append(look(batch, samples, seed, PURPOSE, place))
        if watcher is not None:
            watcher.done(min((place + 1) * size, len(split)), len(split))
        if ledger is not None and (place + 1) % max(1, count // PARTS) == 0 and place + 1 < count:
            parts = [_joined(parts)]
            spent = torch.tensor(before + perf_counter() - start)
            ledger.keep(key, {**parts[0], "seconds": spent})
    seconds = perf_counter() - start
    share = work * each / seconds / matrix_rate() if device.type == "cpu" and left else None
    return _joined(parts), Cost(before + seconds, share)


def _key(split: Split, rest: str) -> str:
    """Of all that decides what is found: the examples, how they are read, what a model is told of them, and `rest`."""
    told = [b"" if column is None else column.numpy().tobytes() for column in (split.context, split.labelled)]
    facts = f"{FORMAT} {split.name} {split.reading} {split.digest().hex()} {split.rows.tolist()} {rest}"
    return hashlib.sha256(b" ".join([facts.encode(), *(hashlib.sha256(part).digest() for part in told)])).hexdigest()


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _pilot(block: Callable[[], Any]) -> tuple[float, int]:
    """Seconds and operations of a block; the first of its two passes also warms up."""
    work = operations(block)
    start = perf_counter()
    block()
    return perf_counter() - start, work


def weights(model: Model, batch: Batch, samples: int, *purpose: int | str, defensive: float = 0.0) -> dict[str, Tensor]:
    """What `weigh` finds, for the images of one block; the noise of their draws is a function of `purpose`."""
    extra = round(defensive * samples)
    defence = Defence.of(model, batch, samples, extra / samples, *purpose) if extra else None
    distortion, rate = torch.zeros(2, len(batch.index), dtype=torch.float64)
    found, rated, covers, bounded = [], True, True, False
    own = samples - extra
    for count, draw in chunks(model, batch, own, *purpose):
        distortion += draw.distortion.cpu() * count / own
        if not draw.rated:
            rate, rated = rate + torch.inf, False
            continue
        rate += draw.rate.cpu() * count / own
        covers, bounded = covers and draw.covers, bounded or isinstance(draw.prior, Bounded)
        if defence is not None:
            found.append(defence.kept(draw).cpu().double())
            continue
        # a draw's mass is what it counts for within its chunk: undo its -log K; and classes that were enumerated are
        # summed, so that what is left is one weight for each of the draws
        log_w = (draw.log_w + draw.log_mass).cpu().double() + log(count)
        found.append(log_w.unflatten(0, (-1, count)).logsumexp(0))
    covers = covers and rated
    if defence is not None:
        more = enumerate(counts(batch, extra))
        found += [defence.added(count, *purpose, "defence", chunk).cpu().double() for chunk, count in more]
        # in any order, so that every group of k draws is one from the mixture
        found = [torch.cat(found)[torch.randperm(samples, generator=generator(*purpose, "order"))]]
    log_w = torch.cat(found) if covers else torch.full((samples, len(distortion)), torch.inf).double()
    facts = {"rated": rated, "covers": covers, "bounded": bounded}
    flags = {name: torch.full(distortion.shape, fact) for name, fact in facts.items()}
    return {"distortion": distortion, "rate": rate, **flags, **_estimates(log_w)}


def spread_of(ess: Tensor, samples: int) -> Tensor:
    """The variance of the log of a mean of K weights, to first order, by their spread; NaN for a single one."""
    return (samples / ess - 1).clamp(min=0) / (samples - 1) if samples > 1 else torch.full_like(ess, torch.nan)


def _estimates(log_w: Tensor) -> dict[str, Tensor]:
    """From weights (K, B): the estimate, its effective number of draws, and the curve over k with its noise."""
    samples = len(log_w)
    total = log_w.logsumexp(0)
    # weights that are all zero, where the prior or the likelihood excludes every draw, are as good as none
    ess = (2 * total - (2 * log_w).logsumexp(0)).exp().masked_fill(total.isneginf(), 0.0)
    curve, noise = [], []
    for k in curve_points(samples):
        groups = log_w[: samples // k * k].unflatten(0, (-1, k)).logsumexp(1) - log(k)
        curve.append(groups.mean(0))
        noise.append(groups.var(0) / len(groups) if len(groups) > 1 else spread_of(ess, k))
    log_p = total - log(samples)
    # a bias that falls as 1 / K is halved by twice the draws: what the second half of them gained is what is left
    half = samples // 2
    halves = log_w[: 2 * half].unflatten(0, (2, half)).logsumexp(1).mean(0) - log(half) if half else log_p
    gain = torch.where(log_p.isfinite() & halves.isfinite(), log_p - halves, torch.nan)
    return {"log_p": log_p, "ess": ess, "gain": gain, "curve": torch.stack(curve, 1), "noise": torch.stack(noise, 1)}
