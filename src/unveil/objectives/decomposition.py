r"""The rate taken apart: what z tells about x, how its dimensions depend on each other, and how each one fits the prior.

The three parts speak of the aggregate posterior q(z) = (1/N) sum_n q(z|x_n), a sum over the whole training set. A
minibatch estimates it: `weights` says how much each of its B posteriors counts at the z of each of its examples.
"""

from __future__ import annotations

from math import log
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


@runtime_checkable
class Factorised(Protocol):
    """A distribution of independent variables, each of which can be asked by itself."""

    def log_probs(self, value: Tensor) -> Tensor:
        """(*batch, *event) nats of each variable; `value` broadcasts against batch and event."""
        ...


def flat(term: nn.Module, draw: Draw) -> tuple[Tensor, Distribution, Distribution]:
    """z (K, B, *latent), q(z|x) and p(z) of a model with one layer of z.

    Raises:
        SettingError: the model has several.
    """
    if draw.posterior is None or draw.prior is None:
        raise SettingError(f"{type(term).__name__} needs one layer of z, and this model has {len(draw.z)}; take Rate()")
    return draw.z[0], draw.posterior, draw.prior


class StratifiedWeights(nn.Module):
    r"""Unbiased weights for a minibatch drawn without replacement.

    .. math:: \hat q(z_i) = \frac1N q(z_i|x_i) + \frac{N - 1}{N (B - 1)} \sum_{j \ne i} q(z_i|x_j)

    The example that z came from is in the minibatch for certain, hence counts as the one in N that it is; the others
    stand for the remaining N - 1. The mean over all minibatches that contain the example is q(z_i). The source gives the
    surplus of the others to a single one of them; this is the mean over which one. A lone example stands for all.

    Source: Chen et al. 2018, Isolating Sources of Disentanglement in VAEs, arXiv:1802.04942, appendix C.
    """

    def forward(self, batch: int, rows: int) -> tuple[float, float]:
        """Log-weights of the example itself and of each other one, given B = `batch` and N = `rows`."""
        return (-log(rows), log(max(rows - 1, 1) / (rows * (batch - 1)))) if batch > 1 else (0.0, 0.0)


class MinibatchWeights(nn.Module):
    r"""The same weight for all, as if the minibatch were drawn anew and independently of z.

    .. math:: \hat q(z_i) = \frac{1}{N B} \sum_j q(z_i|x_j)

    Biased: of the example's own posterior it keeps the share that it has in q(z) divided by B, of the others 1 / N.

    Source: Chen et al. 2018, arXiv:1802.04942, section 4.1.
    """

    def forward(self, batch: int, rows: int) -> tuple[float, float]:
        """Log-weights of the example itself and of each other one, given B = `batch` and N = `rows`."""
        return -log(rows * batch), -log(rows * batch)


class _RatePart(Term):
    """A part of the rate; `weights` are those of the minibatch, `StratifiedWeights()` for None."""

    couples = True

    def __init__(self, weights: nn.Module | None = None) -> None:
        super().__init__()
        self.weights = weights or StratifiedWeights()

    def aggregate(self, draw: Draw, log_q: Tensor) -> Tensor:
        """(K, B, ...) log q(z_i) of the draw's own z_i, from log q(z_i|x_j) (K, whole batch, B, ...).

        The z_i of the whole batch stand along the second dimension, and the draw's own posteriors along the third.
        """
        size, mine = log_q.shape[1:3]
        own, other = self.weights(size, draw.batch.size)
        rows = torch.arange(size, device=log_q.device)
        log_weights = torch.where(rows.unsqueeze(1) == rows[draw.place], own, other).to(log_q.dtype)
        summed = torch.logsumexp(log_q + log_weights.view(size, mine, *[1] * (log_q.dim() - 3)), 2)
        return summed if draw.whole else torch.logsumexp(draw.stack(summed), 0)[:, draw.place]

    def dimensions(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """log q(z) (K, B), and the log q(z_d) (K, B, D) of each dimension."""
        z, posterior, _ = flat(self, draw)
        if not isinstance(posterior, Factorised):
            raise SettingError(
                f"{type(self).__name__} needs a posterior of independent dimensions that has log_probs(), and "
                f"{type(posterior).__name__} has none; take Gaussian(), or Mmd() which compares samples alone"
            )
        log_q = posterior.log_probs(draw.gather(z, 1).unsqueeze(2)).flatten(3)
        return self.aggregate(draw, log_q.sum(-1)), self.aggregate(draw, log_q)


class MutualInformation(_RatePart):
    r"""What z tells about which example it came from.

    .. math:: E_{q(z|x)}[\log q(z|x) - \log q(z)]

    The mean over examples is the mutual information between z and the index of the example, at most log N. Couples the
    batch. The estimate of q(z) is as unbiased as its weights; its logarithm, hence value and gradient, are biased
    upwards by what a minibatch does not see, less so as B grows. The bias is opposite to that of the other two parts:
    MutualInformation() + TotalCorrelation() + DimensionRate() is log q(z|x) - log p(z) of the draws exactly, whatever the
    weights, so Rate() + (beta - 1) * TotalCorrelation() is beta-TC with fewer sums and a rate in closed form.

    Args:
        weights: `StratifiedWeights()`, also for None, or `MinibatchWeights()`.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: several layers of z, or a posterior without density.

    Source: Hoffman & Johnson 2016, ELBO surgery; Chen et al. 2018, arXiv:1802.04942.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        z, posterior, _ = flat(self, draw)
        log_q = posterior.log_prob(draw.gather(z, 1).unsqueeze(2))
        return draw.mean(draw.log_q[0] - self.aggregate(draw, log_q))


class TotalCorrelation(_RatePart):
    r"""How much the dimensions of z depend on each other in the aggregate.

    .. math:: E_{q(z|x)}\Big[\log q(z) - \sum_d \log q(z_d)\Big]

    Zero where they are independent of each other. Couples the batch. Both logarithms are of estimates that are as
    unbiased as their weights; value and gradient are biased, less so as B grows, and more the more dimensions there are.

    Args:
        weights: `StratifiedWeights()`, also for None, or `MinibatchWeights()`.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: several layers of z, or a posterior that does not factorise.

    Source: Chen et al. 2018, arXiv:1802.04942.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        log_q, log_qs = self.dimensions(draw)
        return draw.mean(log_q - log_qs.sum(-1))


class DimensionRate(_RatePart):
    r"""How far each dimension of the aggregate is from the prior's.

    .. math:: \sum_d E_{q(z|x)}[\log q(z_d) - \log p(z_d)]

    Couples the batch. The estimate of each q(z_d) is as unbiased as its weights; value and gradient are biased, less so
    as B grows.

    Args:
        weights: `StratifiedWeights()`, also for None, or `MinibatchWeights()`.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: several layers of z, or a posterior or prior that does not factorise.

    Source: Chen et al. 2018, arXiv:1802.04942.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        z, _, prior = flat(self, draw)
        if not isinstance(prior, Factorised):
            raise SettingError(
                f"DimensionRate needs a prior of independent dimensions that has log_probs(), and {type(prior).__name__} "
                "has none; take Standard(), or leave it at Rate() + TotalCorrelation()"
            )
        _, log_qs = self.dimensions(draw)
        return draw.mean((log_qs - prior.log_probs(z).flatten(2)).sum(-1))
