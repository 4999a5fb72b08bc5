"""Integers 0..L-1 in distributions that know nothing of their neighbours (a category) or everything (a binomial)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from unveil.distributions.counts import ROOT, log_gamma_sample, remainder


class LevelCategorical(Distribution):
    """An integer with a probability of its own for each of L levels.

    Args:
        logits: (*batch, L).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(-1)
        super().__init__(logits.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, integers 0..L-1, broadcasts against the batch."""
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        index = value.long().clamp(0, self.log_probs.shape[-1] - 1).expand(shape).unsqueeze(-1)
        return self.log_probs.expand(*shape, -1).gather(-1, index).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        """(*batch) the expected level."""
        levels = torch.arange(self.log_probs.shape[-1], device=self.log_probs.device)
        return (self.log_probs.exp() * levels).sum(-1)

    @property
    def mode(self) -> Tensor:
        """(*batch) the most probable level, as a float: what to show where levels are names and have no mean."""
        return self.log_probs.argmax(-1).to(self.log_probs.dtype)

    @property
    def variance(self) -> Tensor:
        """(*batch)."""
        levels = torch.arange(self.log_probs.shape[-1], device=self.log_probs.device)
        return (self.log_probs.exp() * (levels - self.mean.unsqueeze(-1)).square()).sum(-1)

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) floats 0..L-1."""
        drawn = Categorical(logits=self.log_probs, validate_args=False).sample(torch.Size(sample_shape))
        return drawn.to(self.log_probs.dtype)


class LevelBetaBinomial(Distribution):
    r"""The number of successes in n = L - 1 trials whose probability is itself Beta-distributed.

    .. math:: p(x) = \binom{n}{x} \frac{B(x + \alpha, n - x + \beta)}{B(\alpha, \beta)}, \quad
        \alpha = \sigma(l) s, \quad \beta = \sigma(-l) s

    Args:
        logits: (*batch) l of the mean share of successes.
        log_total: logarithm of s, broadcasting with `logits`; large s gives the binomial, small s all or nothing.
        levels: L, at least 2.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, logits: Tensor, log_total: Tensor, levels: int) -> None:
        logits, log_total = torch.broadcast_tensors(logits, log_total)
        self.trials, self.share, self.total = levels - 1, torch.sigmoid(logits), log_total.exp()
        self.alpha, self.beta = self.share * self.total, torch.sigmoid(-logits) * self.total
        super().__init__(logits.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, integers 0..L-1, broadcasts against the batch."""
        n = torch.full((), float(self.trials), device=value.device)
        ways = _choose(n, value)
        wins, losses = _rising(self.alpha, value, self.total + n), _rising(self.beta, n - value, self.total + n)
        return ways + wins + losses - _rising(self.total, n, self.total + n)

    @property
    def mean(self) -> Tensor:
        """(*batch) the expected level."""
        return self.trials * self.share

    @property
    def variance(self) -> Tensor:
        """(*batch)."""
        spread = self.share * (self.beta / self.total)
        return self.trials * spread * (self.total + self.trials) / (self.total + 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) floats 0..L-1."""
        shape = torch.Size(sample_shape) + self.batch_shape
        odds = log_gamma_sample(self.alpha.expand(shape)) - log_gamma_sample(self.beta.expand(shape))
        share = torch.sigmoid(odds)
        return torch.binomial(torch.full_like(share, float(self.trials)), share)


def _rising(a: Tensor, x: Tensor, unit: Tensor) -> Tensor:
    """log Γ(a + x) - log Γ(a) - x (log unit - 1), by Stirling, so that nothing much larger than it is subtracted."""
    return (a - 0.5) * torch.log1p(x / a) + x * ((a + x) / unit).log() + remainder(a + x) - remainder(a)


def _choose(n: Tensor, x: Tensor) -> Tensor:
    """The logarithm of how many ways there are to choose x of n, likewise."""
    whole, one, other = n + 1, x + 1, n - x + 1
    large = (one - 0.5) * (whole / one).log() + (other - 0.5) * (whole / other).log() - 0.5 * whole.log()
    return large + 1 - ROOT + remainder(whole) - remainder(one) - remainder(other)
