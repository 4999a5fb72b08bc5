r"""The density of the aggregate posterior at draws from it: a mixture over the posteriors of all N examples.

For examples from a population the mixture is an estimate of q(z) = E q(z|x). At a draw z_n of example n it can hold that
example's own posterior or leave it out:

.. math:: \log \frac1N \sum_m q(z_n|x_m) \quad\text{and}\quad \log \frac1{N-1} \sum_{m \ne n} q(z_n|x_m)

By Jensen's inequality the expectation of the second is at most that of log q(z), and that of the first at least, because
its own posterior gives the best guess of where z_n came from.
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

Table = Callable[[int, int], Tensor]
"""From start and stop to (stop - start, N) float64 log q(z_n|x_m) of the draws n in between, the caller's to change."""


@dataclass(frozen=True)
class PerExample:
    """A number for each example, whose mean over examples estimates something about the population.

    Where an example's number is made of the others' posteriors as well, numbers are not independent of each other. To
    first order the mean is one of independent parts all the same: of each example's own number and what its posterior
    adds to everybody else's. That is its influence, from which errors are made.

    Attributes:
        values: (N,) nats, float64.
        influence: (N,) nats, up to a constant.

    Source: Hampel 1974, The Influence Curve and Its Role in Robust Estimation.
    """

    values: Tensor
    influence: Tensor

    @classmethod
    def alone(cls, values: Tensor) -> PerExample:
        """Numbers that no other example enters."""
        return cls(values.double(), values.double())

    def __add__(self, other: PerExample) -> PerExample:
        return PerExample(self.values + other.values, self.influence + other.influence)

    def __sub__(self, other: PerExample) -> PerExample:
        return PerExample(self.values - other.values, self.influence - other.influence)

    def figure(self) -> Figure:
        """The mean in nats, and its standard error over examples."""
        count = len(self.values)
        return Figure(float(self.values.mean()), float(self.influence.std() / count**0.5), count)


@dataclass(frozen=True)
class Mixture:
    """Log-densities at one draw of each example.

    Attributes:
        own: log q(z_n|x_n).
        within: the mixture's with the example's own posterior, in expectation at least log q(z).
        without: the mixture's without it, in expectation at most log q(z).
    """

    own: PerExample
    within: PerExample
    without: PerExample

    def __add__(self, other: Mixture) -> Mixture:
        return Mixture(self.own + other.own, self.within + other.within, self.without + other.without)


def mixture(table: Table, count: int) -> Mixture:
    """Read a table of N = `count` posteriors at N draws, a few rows at a time and once; N is at least 2."""
    own, within, without = torch.empty(3, count, dtype=torch.float64)
    columns = torch.zeros(2, count, dtype=torch.float64)
    rows = max(1, NUMBERS // count)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        densities = table(start, stop)
        diagonal = densities.diagonal(start)
        own[start:stop] = diagonal
        # the own posterior often outweighs the others by more than float64 can hold: they are summed apart from it
        diagonal.fill_(-torch.inf)
        largest = densities.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).min)
        shares = densities.sub_(largest).exp_()
        total = shares.sum(1)
        without[start:stop] = largest[:, 0] + total.log()
        within[start:stop] = torch.logaddexp(without[start:stop], own[start:stop])
        # how much of each draw's density each posterior accounts for, summed over draws
        weights = torch.stack([(largest[:, 0] - within[start:stop]).exp(), 1 / total.clamp(min=1e-300)])
        columns += weights @ shares
    columns[0] += (own - within).exp()
    return Mixture(
        PerExample.alone(own),
        PerExample(within - log(count), within + columns[0]),
        PerExample(without - log(count - 1), without + columns[1]),
    )


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
