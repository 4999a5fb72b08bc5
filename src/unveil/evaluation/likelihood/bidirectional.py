"""Bidirectional annealing: between which two figures log p(x) lies, on data that the model itself made.

Data of a model come with a z that is an exact draw from p(z|x): chains that begin there and go back to p(z) overestimate
log p(x), where those that come from p(z) underestimate it. How far the two lie apart says how far off annealing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from unveil.data import Batch
from unveil.data.split import pick
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.annealing import (
    Annealing,
    Start,
    average,
    block,
    check,
    forecast,
    forward,
    reverse,
    schedule,
)
from unveil.evaluation.likelihood.moves import from_prior, pilot
from unveil.evaluation.watching import Watcher
from unveil.models import VAE, Model
from unveil.models.vae import CHUNK
from unveil.randomness import reseed

WIDE = 0.5
"""Nats of gap above which annealing is called unfinished."""


@dataclass(frozen=True)
class Bidirectional:
    """What `bidirectional` found, on data simulated from the model.

    Attributes:
        how: chains, temperatures, seed, and whether the chains could move, both ways.
        lower: log of the mean weight of chains that come from the start; at most log p(x) in expectation.
        upper: minus log of the mean inverse weight of chains that go back from z; at least log p(x) in expectation.
        gap: upper - lower, each x by itself; at least how far `lower` falls short of log p(x), in expectation.
        ess: effective number of chains, on the way from the start.
    """

    how: Annealing
    lower: Figure
    upper: Figure
    gap: Figure
    ess: Figure

    def table(self) -> list[tuple[str, str]]:
        """Names and figures, as the terminal prints them."""
        return [
            ("-log p(x) of its own data, at least", str(self.upper.negative())),
            ("  at most", str(self.lower.negative())),
            ("  gap", str(self.gap)),
            *self.how.table(),
        ]

    def advice(self) -> list[str]:
        """What a reader of the figures should know."""
        said = self.how.advice()
        if self.gap.value < 0:
            said.append("the two bounds, which hold in expectation, lie the wrong way round: they meet within their noise")
        if self.gap.value > WIDE:
            said.append(
                f"log p(x) of the model's own data is known to {self.gap.value:,.1f} nats only, and annealed estimates "
                "with "
                f"these settings may be as far off; take more than {self.how.temperatures:,} temperatures"
            )
        return said


@torch.no_grad()
def bidirectional(
    model: Model,
    *,
    n: int = 50,
    context: Tensor | None = None,
    chains: int = 16,
    temperatures: int = 1_000,
    leapfrogs: int = 2,
    start: Start = from_prior,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Bidirectional:
    r"""Sandwich log p(x) of x ~ p(x|z), z ~ p(z), by annealing both ways.

    .. math:: E \log \frac1M \sum_m w_m \le \log p(x) \le -E \log \frac1M \sum_m \frac1{w_m}

    The left side is over chains from p(z) to p(z|x), the right over chains from z back to p(z), M of them from the same z:
    each of their 1 / w has expectation 1 / p(x), hence their mean has, and the rest is Jensen's inequality. Moves are those
    of `annealed`, with step sizes from a pilot that has seen x but not z.

    On x like these `annealed` with the same settings falls short of log p(x) by at most the gap, on average. On real images
    it does so as far as they resemble the model's own: where a model is poor, real images are the harder ones.

    Args:
        model: as for `annealed`.
        n: how many x, at least 1.
        context: (C,) or (n, C) what a conditional model is given.
        chains: M for each x and each way.
        temperatures: T, at least 2.
        leapfrogs: steps in one move.
        start: where chains begin, and go back to.
        seed: of everything random.
        watcher: told the forecast before the chains start, and the progress.

    Raises:
        SettingError: a model without likelihood or without flat z, or settings that cannot be.

    Source: Grosse et al. 2015, Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo, arXiv:1511.02543; Wu
    et al. 2017, arXiv:1611.04273, for models with a decoder.
    """
    if n < 1:
        raise SettingError(f"{n} x cannot be simulated; give at least 1")
    begun, betas = perf_counter(), schedule(temperatures)
    device = next(model.parameters()).device
    given = None if context is None else context.to(device).expand(n, -1)
    sizes, ups, downs = [], [], []
    with in_evaluation(model):
        vae = check(model, "bidirectional annealing", given, chains, leapfrogs)
        reseed(seed, "bidirectional data", device=device)
        z, x = simulate(vae, n, given)
        size = block(x.shape[1:], chains)
        for place, first in enumerate(range(0, n, size)):
            rows = torch.arange(first, min(first + size, n), device=device)
            path = start(vae, Batch(x[rows], rows, n, context=pick(given, rows)))
            if watcher is not None and place == 0:
                watcher.forecast("sandwich", forecast(path, temperatures, leapfrogs, chains, ways=2) * n / path.size, 0)
            reseed(seed, "bidirectional pilot", place, device=device)
            moves = pilot(path, betas[1:-1], leapfrogs)
            reseed(seed, "bidirectional", place, device=device)
            sizes.append(moves.sizes)
            ups.append(forward(path, betas, moves, chains))
            downs.append(reverse(path, betas, moves, path.at(z[rows].expand(chains, -1, -1))))
            if watcher is not None:
                watcher.done(first + len(rows), n)
    lower, noise, ess = average(torch.cat([run.log_w for run in ups], 1))
    upper = -average(-torch.cat([run.log_w for run in downs], 1))[0]
    rates = torch.cat([(up.acceptance + down.acceptance) / 2 for up, down in zip(ups, downs, strict=True)], 1)
    seconds = perf_counter() - begun
    return Bidirectional(
        how=Annealing.of(chains, leapfrogs, path.name, seed, torch.cat(sizes, 1), rates, seconds),
        lower=Figure.over(lower, noise=noise if chains > 1 else None),
        upper=Figure.over(upper),
        gap=Figure.over(upper - lower),
        ess=Figure.over(ess, "chains"),
    )


def simulate(model: VAE, n: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """z (n, D) ~ p(z) and x (n, *event) ~ p(x|z): each z is then a draw from p(z|x)."""
    prior = model.prior(None, context)
    z = prior.sample(torch.Size([] if prior.batch_shape else [n]))
    given = [None] * n if context is None else context.split(CHUNK)
    return z, torch.cat([model.decode(part, c).sample() for part, c in zip(z.split(CHUNK), given, strict=False)])
