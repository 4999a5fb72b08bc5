r"""The density of the aggregate posterior at draws from it: a mixture over the posteriors of all N examples.

For examples from a population the mixture is an estimate of q(z) = E q(z|x). At a draw z_n of example n it can hold that
example's own posterior or leave it out:

.. math:: \log \frac1N \sum_m q(z_n|x_m) \quad\text{and}\quad \log \frac1{N-1} \sum_{m \ne n} q(z_n|x_m)

By Jensen's inequality the expectation of the second is at most that of log q(z). That of the first is at least as large,
because z tells no more about which of N examples it came from than about x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import DiagonalGaussian
from unveil.evaluation.figure import Figure

NUMBERS = 2**17
"""Entries of the N x N table held at a time: a megabyte, so that the passes over them stay in the cache."""
CLOSE = 0.5
"""Nats; bounds no further apart, or no further than a tenth of the upper one, count as an answer."""

Table = Callable[[int, int], Tensor]
"""From start and stop to (stop - start, N) float64 log q(z_n|x_m) of the draws n in between, the caller's to change."""


@dataclass(frozen=True)
class Interval:
    """A quantity between two bounds, each of which holds in expectation; `told` is whether they are close enough to tell.

    Neither bound is cut at zero, although the quantity cannot be negative. Errors are as if an example's number depended
    on that example alone. The others' posteriors enter it as well, but what one posterior adds to all other numbers is to
    first order its integral, which is 1 whatever the example.
    """

    lower: Figure
    upper: Figure
    told: bool

    @classmethod
    def between(cls, lower: Tensor, upper: Tensor) -> Interval:
        """From numbers by example, (N,) nats each."""
        low, high = Figure.over(lower), Figure.over(upper)
        return cls(low, high, high.value - low.value <= max(CLOSE, 0.1 * high.value))

    def __str__(self) -> str:
        low, high, n = self.lower, self.upper, self.lower.n
        text = f"{low.pair()} to {high.pair()} {low.unit} (n = {n:,})"
        return text if self.told else f"{text}: {n:,} examples cannot tell"


@dataclass(frozen=True)
class Mixture:
    """Log-densities at one draw of each example, (N,) float64 each.

    Attributes:
        own: log q(z_n|x_n).
        within: the mixture's with the example's own posterior, in expectation at least log q(z).
        without: the mixture's without it, in expectation at most log q(z).
    """

    own: Tensor
    within: Tensor
    without: Tensor


def mixture(table: Table, count: int) -> Mixture:
    """Read a table of N = `count` posteriors at N draws, a few rows at a time and once; N is at least 2."""
    own, others = torch.empty(2, count, dtype=torch.float64)
    rows = max(1, NUMBERS // count)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        densities = table(start, stop)
        diagonal = densities.diagonal(start)
        own[start:stop] = diagonal
        # the own posterior often outweighs the others by more than float64 can hold: they are summed apart from it
        diagonal.fill_(-torch.inf)
        largest = densities.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).min)
        others[start:stop] = largest[:, 0] + densities.sub_(largest).exp_().sum(1).log()
    return Mixture(own, torch.logaddexp(others, own) - log(count), others - log(count - 1))


class Diagonals:
    r"""Tables of diagonal Gaussians, as matrix products in float64.

    .. math:: \log q(z|x) = \sum_d -\tfrac12 z_d^2 / \sigma_d^2 + z_d \mu_d / \sigma_d^2 - \tfrac12 \mu_d^2 / \sigma_d^2
        - \log \sigma_d - \tfrac12 \log 2 \pi

    The square is expanded, which costs 2 log10(|z - mean| / sigma) of float64's 16 digits.

    Args:
        loc: (N, D) means.
        log_scale: (N, D) logarithms of the standard deviations.
        z: (N, D) a draw of each.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, z: Tensor) -> None:
        centre = loc.double().mean(0)
        loc, z, precision = loc.double() - centre, z.double() - centre, (-2 * log_scale.double()).exp()
        constant = -0.5 * loc.square() * precision - log_scale.double() - 0.5 * log(2 * pi)
        self._draws = torch.stack([z.square(), z, torch.ones_like(z)], 1)
        self._posteriors = torch.stack([-0.5 * precision, loc * precision, constant], 1)

    @property
    def dimensions(self) -> int:
        """D."""
        return self._draws.shape[2]

    def joint(self) -> Table:
        """The table of q(z|x)."""
        return _products(self._draws.flatten(1), self._posteriors.flatten(1))

    def marginal(self, dimension: int) -> Table:
        """The table of q(z_d|x)."""
        return _products(self._draws[:, :, dimension], self._posteriors[:, :, dimension])


def _products(draws: Tensor, posteriors: Tensor) -> Table:
    draws, columns = draws.contiguous(), posteriors.T.contiguous()
    return lambda start, stop: draws[start:stop] @ columns


def diagonals(posteriors: Sequence[Distribution], z: Tensor) -> Diagonals | None:
    """Tables of `posteriors`, whose batches are the examples in their order, at `z` (N, *event); None for other kinds."""
    known = [q for q in posteriors if isinstance(q, DiagonalGaussian)]
    if len(known) < len(posteriors):
        return None
    loc = torch.cat([q.loc.flatten(1) for q in known])
    log_scale = torch.cat([q.log_scale.expand_as(q.loc).flatten(1) for q in known])
    return Diagonals(loc.cpu(), log_scale.cpu(), z.flatten(1).cpu())


def broadcast(posteriors: Sequence[Distribution], z: Tensor) -> Table:
    """A table by each posterior's own `log_prob`, in whose precision it is."""
    return lambda start, stop: torch.cat([q.log_prob(z[start:stop].unsqueeze(1)).double().cpu() for q in posteriors], 1)
