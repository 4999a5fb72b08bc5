"""Importance weights of every image of a split: what each estimate of -log p(x) with K draws is made of.

Every image is read once (one binarisation, kept across its K draws) and weighed with exactly K draws of z, in float32;
sums over draws are taken in float64 and log space. What a block of images gives is a function of (weights, seed, place of
the block), so a weighing that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import log
from time import perf_counter

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.evaluation.likelihood.drawing import block_size, blocks, chunks
from unveil.evaluation.machine import matrix_rate, operations
from unveil.evaluation.watching import Ledger, Watcher
from unveil.models import Model

PURPOSE = "estimate"
"""Of the noise, beside the seed and the place of a block."""
PARTS = 50
"""How many times a weighing is put down on the way."""
STEPS = (1, 2, 5)
"""Numbers of draws in each power of ten at which the curve of estimates has points."""


@dataclass(frozen=True)
class Cost:
    """What a weighing took, which no result depends on.

    Attributes:
        seconds: of this call, without what was recalled.
        share: of the CPU's rate of float32 matrix products, that was reached; None on other devices.
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

    Returns:
        For every image, float64 on the CPU: 'distortion' and 'rate', (N,), the latter infinite where q has no density;
        'log_p' (N,), log of the mean weight, infinite where q does not cover p(z|x); 'ess' (N,), the effective number of
        draws; 'curve' and 'noise' (N, P), the log of the mean of k weights for each k of `curve_points`, averaged over
        K // k groups of draws, and the variance of that; with how long it takes.
    """
    device = next(iter(model.parameters())).device
    size = block_size(split, samples)
    count = -(-len(split) // size)
    key = hashlib.sha256(f"{identity} {split.digest().hex()} {split.rows.tolist()} {samples} {seed} {size}".encode())
    found = dict(ledger.recall(key.hexdigest())) if ledger is not None else {}
    done = len(found["rate"]) // size if found else 0
    left = max(0, len(split) - done * size)
    seconds, work = _pilot(model, next(blocks(split, samples, seed, device))[1], samples, seed)
    if watcher is not None:
        watcher.forecast("nats", seconds * left, len(split) - left)
    start = perf_counter()
    parts = [found] if found else []
    for place, batch in blocks(split, samples, seed, device, start=done):
        parts.append(weights(model, batch, samples, seed, PURPOSE, place))
        if watcher is not None:
            watcher.done(min((place + 1) * size, len(split)), len(split))
        if ledger is not None and (place + 1) % max(1, count // PARTS) == 0 and place + 1 < count:
            parts = [_joined(parts)]
            ledger.keep(key.hexdigest(), parts[0])
    seconds = perf_counter() - start
    share = work * left / seconds / matrix_rate() if device.type == "cpu" and left else None
    return _joined(parts), Cost(seconds, share)


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _pilot(model: Model, batch: Batch, samples: int, seed: int) -> tuple[float, float]:
    """Seconds and operations of one image, from the first block; the first of its two passes also warms up."""
    work = operations(lambda: weights(model, batch, samples, seed, PURPOSE, 0))
    start = perf_counter()
    weights(model, batch, samples, seed, PURPOSE, 0)
    return (perf_counter() - start) / len(batch.index), work / len(batch.index)


def weights(model: Model, batch: Batch, samples: int, *purpose: int | str) -> dict[str, Tensor]:
    """What `weigh` finds, for the images of one block; the noise of their draws is a function of `purpose`."""
    distortion, rate = torch.zeros(2, len(batch.index), dtype=torch.float64)
    found, covers = [], True
    for count, draw in chunks(model, batch, samples, *purpose):
        distortion += draw.distortion.cpu() * count / samples
        if not draw.rated:
            rate += torch.inf
            continue
        rate += draw.rate.cpu() * count / samples
        covers = covers and draw.covers
        # a draw's mass is what it counts for within its chunk: undo its -log K; and classes that were enumerated are
        # summed, so that what is left is one weight for each of the draws
        log_w = (draw.log_w + draw.log_mass).cpu().double() + log(count)
        found.append(log_w.unflatten(0, (-1, count)).logsumexp(0))
    log_w = torch.cat(found) if found and covers else torch.full((samples, len(distortion)), torch.inf).double()
    return {"distortion": distortion, "rate": rate, **_estimates(log_w)}


def _estimates(log_w: Tensor) -> dict[str, Tensor]:
    """From weights (K, B): the estimate, its effective number of draws, and the curve over k with its noise."""
    samples = len(log_w)
    total = log_w.logsumexp(0)
    ess = (2 * total - (2 * log_w).logsumexp(0)).exp()
    curve, noise = [], []
    for k in curve_points(samples):
        groups = log_w[: samples // k * k].unflatten(0, (-1, k)).logsumexp(1) - log(k)
        curve.append(groups.mean(0))
        # groups are independent estimates of one thing; a single one is judged by the spread of its weights
        noise.append(groups.var(0) / len(groups) if len(groups) > 1 else (1 / ess - 1 / k).clamp(min=0))
    return {"log_p": total - log(samples), "ess": ess, "curve": torch.stack(curve, 1), "noise": torch.stack(noise, 1)}
