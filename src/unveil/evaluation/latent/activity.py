r"""Which dimensions of z are used, and what each of them costs.

A dimension is active where the posterior mean moves with x, Var_x E[z_d|x] > 0.01; its rate is its share of KL(q || p).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from unveil.distributions import DiagonalGaussian
from unveil.evaluation.figure import Figure

ACTIVE = 0.01
"""Variance of the posterior mean above which a dimension is active."""


@dataclass(frozen=True)
class Unit:
    """A dimension of the first layer of z.

    Attributes:
        index: its place in z, flattened.
        rate: its share of KL(q || p) in closed form; None where posterior or prior do not factorise into Gaussians.
        variance: of the posterior mean over examples, with its standard error.
        scale: mean posterior standard deviation.
    """

    index: int
    rate: Figure | None
    variance: Figure
    scale: float


@dataclass(frozen=True)
class Layer:
    """A layer of z.

    Attributes:
        dimensions: of one z in this layer.
        rate: KL(q || p) of this layer given those above; None under a posterior without density.
        active: dimensions whose posterior mean has a variance above 0.01 over examples. Those of the first layer are told
            from the encoder's means, those of others from several draws of each example, without bias. None where draws
            are no equals, as where classes are enumerated.
        near: dimensions that another sample of examples may count otherwise: their variance is within two standard
            errors, or a factor of two, of 0.01.

    Source: Burda et al. 2016, Importance Weighted Autoencoders, arXiv:1509.00519 (active units).
    """

    dimensions: int
    rate: Figure | None
    active: int | None
    near: int | None


@dataclass(frozen=True)
class Means:
    """E[z|x] of each example: known, or the mean of K draws.

    Attributes:
        means: (N, D).
        excess: (N, D) the variance that a mean of draws has around E[z|x]; None where E[z|x] is known.
    """

    means: Tensor
    excess: Tensor | None = None

    @classmethod
    def of_draws(cls, z: Tensor) -> Means:
        """From independent draws (K, B, ...) of equal weight, K at least 2."""
        flat = z.flatten(2).double()
        return cls(flat.mean(0), flat.var(0) / len(z))

    @classmethod
    def joined(cls, parts: list[Means]) -> Means:
        """Of all examples, from batches of one kind."""
        excess = [part.excess for part in parts if part.excess is not None]
        return cls(torch.cat([part.means for part in parts]), torch.cat(excess) if excess else None)

    def variances(self) -> list[Figure]:
        """Var_x E[z_d|x] of each dimension, unbiased, with its standard error over examples; N is at least 2."""
        means = self.means.double()
        count = len(means)
        each = (means - means.mean(0)).square() * count / (count - 1)
        each = each if self.excess is None else each - self.excess.double()
        return [Figure.over(column, "squared units of z") for column in each.T]


def activity(variances: list[Figure]) -> tuple[int, int]:
    """How many variances are above the threshold, and how many are so near that they may be on its other side."""
    near = [v for v in variances if ACTIVE / 2 < v.value < 2 * ACTIVE or abs(v.value - ACTIVE) < 2 * v.stderr]
    return sum(v.value > ACTIVE for v in variances), len(near)


def rates_by_dimension(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """(B, D) nats, KL(q(z_d|x) || p(z_d)), which sum to KL(q || p); None unless both are diagonal Gaussians."""
    if not isinstance(posterior, DiagonalGaussian) or not isinstance(prior, DiagonalGaussian):
        return None

    def apart(whole: DiagonalGaussian) -> DiagonalGaussian:
        """The dimensions of the event as a batch."""
        loc, log_scale = (part.flatten(-whole.event_dims) for part in (whole.loc, whole.log_scale.expand_as(whole.loc)))
        return DiagonalGaussian(loc.unsqueeze(-1), log_scale.unsqueeze(-1))

    return kl_divergence(apart(posterior), apart(prior))
