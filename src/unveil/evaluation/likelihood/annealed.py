"""Annealed importance sampling: an estimate of log p(x) that needs no good encoder, for a subset of the images."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch

from unveil.data import Split
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure, decimals
from unveil.evaluation.likelihood.annealing import Annealing, Start, average, block, check, forecast, forward, schedule
from unveil.evaluation.likelihood.moves import from_prior, pilot
from unveil.evaluation.watching import Watcher
from unveil.models import Model
from unveil.randomness import reseed
from unveil.words import counted

ALONE = 2.0
"""Effective chains below which an estimate rests on a single one."""


@dataclass(frozen=True)
class Estimate:
    """What the chains of one image came to.

    Attributes:
        row: of the image in its source.
        log_p: log of the mean weight, nats.
        stderr: its standard error over chains, to first order; None for one chain. It cannot exceed 1, so where `ess` is
            near 1 it says too little.
        ess: effective number of chains.
    """

    row: int
    log_p: float
    stderr: float | None
    ess: float


@dataclass(frozen=True)
class Annealed:
    """What `annealed` found, on one split.

    Attributes:
        split: its name.
        fingerprint: SHA-256 over the values and labels that were used.
        measure: of the data's space: what the nats are nats of.
        how: chains, temperatures, seed, and whether the chains could move.
        nll: the estimate of -log p(x). exp(-nll) of an image is unbiased for p(x), hence nll is biased upwards, by about
            half the variance of its noise. Its `estimator` is the error that the chains leave.
        ess: effective number of chains.
        images: what the chains of each image came to.
    """

    split: str
    fingerprint: str
    measure: str
    how: Annealing
    nll: Figure
    ess: Figure
    images: tuple[Estimate, ...]

    def table(self) -> list[tuple[str, str]]:
        """Names and figures, as the terminal prints them."""
        own = self.nll.estimator
        noise = "" if own is None else f", of which ± {own:.{decimals(own)}f} by the chains"
        return [
            ("-log p(x), annealed", f"{self.nll}{noise}"),
            ("  effective chains", f"{self.ess} of {self.how.chains}"),
            *self.how.table(),
        ]

    def advice(self) -> list[str]:
        """What a reader of the figures should know."""
        said = self.how.advice()
        alone = sum(image.ess < min(ALONE, 0.75 * self.how.chains) for image in self.images)
        if self.how.chains == 1:
            said.append("one chain for each example tells nothing of its own error; take 16")
        elif alone:
            said.append(
                f"the estimates of {alone} of {counted(len(self.images), 'example')} rest on a single chain: -log p(x) "
                "is rather lower, "
                f"and they are less sure than they say; take more than {self.how.temperatures:,} temperatures"
            )
        return said


@torch.no_grad()
def annealed(
    model: Model,
    split: Split,
    *,
    images: int | None = 100,
    chains: int = 16,
    temperatures: int = 1_000,
    leapfrogs: int = 2,
    start: Start = from_prior,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Annealed:
    """Estimate -log p(x) by annealed importance sampling with Hamiltonian moves.

    Step sizes are found for every image and temperature in a pilot with a random key of its own, and then stay as they are.
    Steps that adapt during the run that counts would depend on where its chains have been, moves would leave no density
    invariant, and the weights would no longer average to p(x).

    exp of each image's estimate is unbiased for p(x), and its log falls short of log p(x) on average. Memory holds about
    2,000 chains at a time, whatever the number of images.

    Args:
        model: one layer of z, real vectors under a prior with a density, and a likelihood that is differentiable in z.
        split: the images, read as `evaluate` reads them.
        images: how many, as a function of `seed`; None for all.
        chains: M for each image.
        temperatures: T, at least 2. The variance of log w falls about as 1 / T.
        leapfrogs: steps in one move. More temperatures gain more than longer moves.
        start: where chains begin; `from_posterior` is a shorter way that trusts the encoder's tails.
        seed: of everything random.
        watcher: told the forecast before the chains start, and the progress.

    Raises:
        SettingError: a model without likelihood or without flat z, or settings that cannot be.

    Source: Neal 2001, Annealed Importance Sampling, Statistics and Computing 11; Wu et al. 2017, On the Quantitative
    Analysis of Decoder-Based Generative Models, arXiv:1611.04273.
    """
    begun, betas = perf_counter(), schedule(temperatures)
    chosen = split.sample(images, seed)
    device = next(model.parameters()).device
    sizes, runs = [], []
    with in_evaluation(model):
        for place, batch in enumerate(chosen.batches(block(chosen.values.shape[1:], chains), seed)):
            batch = batch.to(device)
            path = start(check(model, "annealed importance sampling", batch.context, chains, leapfrogs), batch)
            if watcher is not None and place == 0:
                seconds = forecast(path, temperatures, leapfrogs, chains, ways=1)
                watcher.forecast("annealing", seconds * len(chosen) / path.size, 0)
            reseed(seed, "annealed pilot", place, device=device)
            moves = pilot(path, betas[1:-1], leapfrogs)
            reseed(seed, "annealed", place, device=device)
            sizes.append(moves.sizes)
            runs.append(forward(path, betas, moves, chains))
            if watcher is not None:
                watcher.done(sum(run.log_w.shape[1] for run in runs), len(chosen))
    log_p, noise, ess = average(torch.cat([run.log_w for run in runs], 1))
    rates = torch.cat([run.acceptance for run in runs], 1)
    seconds = perf_counter() - begun
    errors = noise.sqrt().tolist() if chains > 1 else [None] * len(chosen)
    found = zip(chosen.rows.tolist(), log_p.tolist(), errors, ess.tolist(), strict=True)
    return Annealed(
        split=split.name,
        fingerprint=chosen.digest().hex(),
        measure=split.reading.measure,
        how=Annealing.of(chains, leapfrogs, path.name, seed, torch.cat(sizes, 1), rates, seconds),
        nll=Figure.over(-log_p, noise=noise if chains > 1 else None),
        ess=Figure.over(ess, "chains"),
        images=tuple(Estimate(*each) for each in found),
    )
