r"""Chains that go from p(z) to p(z|x) in many small steps or back, and the weights that make them an estimate of p(x).

With f_t for f_beta at temperature number t, f_0 normalised and f_T = p(x, z), a chain is drawn from F and weighed by w:

.. math::
    F(z_0 \ldots z_{T-1}) &= f_0(z_0) \prod_{t=1}^{T-1} K_t(z_{t-1} \to z_t) \\
    w &= \prod_{t=1}^{T} f_t(z_{t-1}) / f_{t-1}(z_{t-1})

So the weight goes on to the next temperature first, where the chain stands, and then the chain is moved under it. The
moves K_t are reversible, f_t(z) K_t(z to z') = f_t(z') K_t(z' to z). Put that into F for every t: what comes out,
f_t(z_t) / f_t(z_{t-1}), cancels all of f_0 w but f_T at the end, and

.. math:: F w = f_T(z_{T-1}) \prod_{t=T-1}^{1} K_t(z_t \to z_{t-1}) = p(x) R(z_{T-1} \ldots z_0)

where R draws z_{T-1} from p(z|x) and makes the same moves in the opposite order. Under F, E[w] = p(x) and E[log w] is at
most log p(x); under R, E[1 / w] = 1 / p(x) and E[log w] is at least log p(x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from time import perf_counter

import torch
from torch import Tensor

from unveil.data import Batch
from unveil.errors import SettingError
from unveil.evaluation.figure import Figure
from unveil.evaluation.flat import flat_prior
from unveil.evaluation.likelihood.moves import PILOTS, Moves, Path, State, move, pilot_moves
from unveil.evaluation.likelihood.weigh import spread_of
from unveil.models import VAE, Model

Start = Callable[[VAE, Batch], Path]
"""Where chains begin: `from_prior` or `from_posterior`."""
ROWS = 2_000
"""Most chains moved at a time: a gradient keeps what every layer made."""
NUMBERS = 784 * ROWS
"""Most numbers of x decoded at a time."""
STEEPNESS = 4.0
"""Of the sigmoid that temperatures follow: the larger, the smaller the steps at both ends."""
TRIED = 3
"""Moves from which it is told how long all of them will take."""
SELDOM = 0.4
"""Share of moves accepted below which chains lag behind."""


def schedule(temperatures: int) -> list[float]:
    r"""T + 1 values of beta from 0 to 1, close together at both ends.

    .. math:: \beta_t = \frac{\sigma(\delta (2 t / T - 1)) - \sigma(-\delta)}{\sigma(\delta) - \sigma(-\delta)}

    Raises:
        SettingError: fewer than 2.

    Source: Wu et al. 2017, On the Quantitative Analysis of Decoder-Based Generative Models, arXiv:1611.04273.
    """
    if temperatures < 2:
        raise SettingError(f"chains cannot be annealed over {temperatures} temperatures; give at least 2, better hundreds")
    raw = [1 / (1 + exp(-STEEPNESS * (2 * t / temperatures - 1))) for t in range(temperatures + 1)]
    return [(value - raw[0]) / (raw[-1] - raw[0]) for value in raw]


@dataclass(frozen=True)
class Chains:
    """What M chains for each of B examples came to.

    Attributes:
        log_w: (M, B) log-weights, float64 on the CPU.
        acceptance: (T - 1, B) share of moves accepted, in the order of rising beta.
    """

    log_w: Tensor
    acceptance: Tensor


def forward(path: Path, betas: Sequence[float], moves: Moves, chains: int) -> Chains:
    """Chains drawn from F: E[w] = p(x) for any `moves` that do not depend on the chains."""
    state = path.draw(chains)
    log_w, rates = torch.zeros_like(state.log_ratio), []
    for t in range(1, len(betas)):
        log_w = log_w + (betas[t] - betas[t - 1]) * state.log_ratio
        if t < len(betas) - 1:  # a move under p(z|x) itself would change no weight
            state, rate = move(path, state, betas[t], moves.steps(t - 1), moves.leapfrogs)
            rates.append(rate.mean(0))
    return _checked(log_w, rates)


def reverse(path: Path, betas: Sequence[float], moves: Moves, state: State) -> Chains:
    """Chains drawn from R, with the same w: E[1 / w] = 1 / p(x) for a `state` drawn from p(z|x).

    Everything that `forward` does is done in the opposite order: the weight goes back from temperature t to t - 1 where the
    chain stands, and then the chain is moved under t - 1.
    """
    log_w = torch.zeros_like(state.log_ratio)
    rates: list[Tensor] = []
    for t in range(len(betas) - 1, 0, -1):
        log_w = log_w + (betas[t] - betas[t - 1]) * state.log_ratio
        if t > 1:
            state, rate = move(path, state, betas[t - 1], moves.steps(t - 2), moves.leapfrogs)
            rates.insert(0, rate.mean(0))
    return _checked(log_w, rates)


def _checked(log_w: Tensor, rates: list[Tensor]) -> Chains:
    if not log_w.amax(0).isfinite().all():
        raise SettingError(
            "log p(x|z) is no finite number where the chains of some x are; look for weights of the model that are not "
            "finite, or for x that its likelihood excludes"
        )
    return Chains(log_w, torch.stack(rates))


def average(log_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From weights (M, B): log of their mean, the variance of that, and the effective number of chains, (B,) each.

    The variance is by the delta method that of the mean weight over its square; NaN for one chain. It cannot exceed 1, so
    where the effective number is near 1 it says too little.
    """
    count = len(log_w)
    total = log_w.logsumexp(0)
    ess = (2 * total - (2 * log_w).logsumexp(0)).exp()
    return total - log(count), spread_of(ess, count), ess


def check(model: Model, what: str, context: Tensor | None, chains: int, leapfrogs: int) -> VAE:
    """The model as one that `what` can be had of.

    Raises:
        SettingError: no likelihood, z that are not flat, or settings that cannot be.
    """
    if chains < 1 or leapfrogs < 1:
        raise SettingError(f"{chains} chains with {leapfrogs} leapfrog steps a move cannot be; give at least 1 of both")
    if not model.normalised:
        raise SettingError(f"{what} is of log p(x), and this model's p(x|z) is no likelihood of x")
    return flat_prior(model, what, context)[0]


def forecast(path: Path, temperatures: int, leapfrogs: int, chains: int, ways: int) -> float:
    """Seconds that the block of `path` will take, by a few moves that count for nothing.

    Chains go `ways` times along all temperatures, and those of the pilot once.
    """
    scale = path.start.sample().new_ones(path.start.event_shape)
    betas = [step / (TRIED + 1) for step in range(TRIED + 2)]
    start = perf_counter()
    forward(path, betas, Moves(scale.new_full((TRIED, path.size), 0.1), scale, leapfrogs), chains)
    moves = ways * (temperatures - 1) + pilot_moves(temperatures - 1) * PILOTS / chains
    return moves * (perf_counter() - start) / TRIED


def block(shape: Sequence[int], chains: int) -> int:
    """How many x of this shape have their chains moved at a time."""
    rows = min(ROWS, NUMBERS // torch.Size(shape).numel())
    return max(1, rows // max(chains, PILOTS))


@dataclass(frozen=True)
class Annealing:
    """How chains were annealed, and whether they could move.

    Attributes:
        chains: M for each x.
        temperatures: T, steps of beta from 0 to 1.
        leapfrogs: steps in one move.
        start: the density at beta = 0.
        seed: of everything random.
        acceptance: share of moves accepted.
        lowest: the same, over all x, at the temperature where it is lowest.
        sizes: the shortest and the longest leapfrog step, in standard deviations of the start.
        seconds: how long it took.
    """

    chains: int
    temperatures: int
    leapfrogs: int
    start: str
    seed: int
    acceptance: Figure
    lowest: float
    sizes: tuple[float, float]
    seconds: float

    @classmethod
    def of(
        cls, chains: int, leapfrogs: int, start: str, seed: int, sizes: Tensor, rates: Tensor, seconds: float
    ) -> Annealing:
        """From the leapfrog steps and the acceptance over all x, (T - 1, N) each."""
        return cls(
            chains=chains,
            temperatures=len(rates) + 1,
            leapfrogs=leapfrogs,
            start=start,
            seed=seed,
            acceptance=Figure.over(rates.mean(0), "of moves"),
            lowest=float(rates.mean(1).min()),
            sizes=(float(sizes.min()), float(sizes.max())),
            seconds=seconds,
        )

    def table(self) -> list[tuple[str, str]]:
        """Names and figures, as the terminal prints them."""
        way = f"{self.temperatures:,} from {self.start}, {self.leapfrogs} leapfrog steps each, seed {self.seed}"
        return [
            ("  moves accepted", f"{self.acceptance}, {self.lowest:.2f} at the least"),
            ("  temperatures", way),
        ]

    def advice(self) -> list[str]:
        """What a reader of the figures should know."""
        if self.lowest >= SELDOM:
            return []
        return [
            f"at one temperature only {self.lowest:.0%} of the moves were accepted, and chains lag behind there; take more "
            "temperatures, which also gives the pilot time to find its steps"
        ]
