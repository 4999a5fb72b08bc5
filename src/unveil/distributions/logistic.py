"""A logistic variable of which only the interval between two cuts is seen: gray levels, and ordered answers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F


class CutLogistic(Distribution):
    r"""Integers 0..L-1, the intervals that L - 1 cuts make of the line.

    .. math:: p(x) = \sigma(a) - \sigma(b) = \sigma(a)\,\sigma(-b)\,(1 - e^{b-a}), \quad
        a = (c_{x} - \mu) / s, \quad b = (c_{x-1} - \mu) / s

    The first interval has no lower end (b is minus infinity) and the last no upper one, so the probabilities sum to one.
    The product is taken in log space: the difference of the sigmoids is 0 where an interval lies far from the mean.

    Args:
        loc: (*batch) the mean of the logistic variable.
        log_scale: logarithm of its scale s, broadcasting with `loc`.
        cuts: (..., L - 1) increasing; the leading dimensions broadcast with the batch.

    Source: Salimans et al. 2017, PixelCNN++, arXiv:1701.05517 (levels); McCullagh 1980, Regression Models for Ordinal
    Data (cumulative logits).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.nonnegative_integer

    def __init__(self, loc: Tensor, log_scale: Tensor, cuts: Tensor) -> None:
        self.loc, self.cuts = torch.broadcast_tensors(loc, log_scale)[0], cuts
        self.scale = log_scale.exp()
        super().__init__(self.loc.shape, validate_args=False)

    def _cut(self, index: Tensor) -> Tensor:
        cuts = self.cuts.expand(*torch.broadcast_shapes(self.cuts.shape[:-1], index.shape), -1)
        return cuts.gather(-1, index.expand(cuts.shape[:-1]).unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, integers 0..L-1, broadcasts against the batch."""
        last = self.cuts.shape[-1]
        level = value.long().clamp(0, last)
        lower, upper = self._cut((level - 1).clamp(min=0)), self._cut(level.clamp(max=last - 1))
        above, below = level > 0, level < last
        # an end interval has no width; what stands in its place keeps the gradient finite
        width = torch.where(above & below, (upper - lower) / self.scale, 1).clamp(min=1e-30)
        inside = torch.where(above & below, torch.log(-torch.expm1(-width)), 0)
        left = torch.where(below, F.logsigmoid((upper - self.loc) / self.scale), 0)
        right = torch.where(above, F.logsigmoid((self.loc - lower) / self.scale), 0)
        return left + right + inside

    @property
    def mean(self) -> Tensor:
        """(*batch) E[x], the sum over the cuts of the probability of lying above."""
        total = torch.zeros_like(self.loc)
        for cut in self.cuts.unbind(-1):  # a pass for each cut: all at once would take L times the memory
            total = total + torch.sigmoid((self.loc - cut) / self.scale)
        return total

    @property
    def variance(self) -> Tensor:
        """(*batch)."""
        mean, total = self.mean, torch.zeros_like(self.loc)
        for level, cut in enumerate(self.cuts.unbind(-1)):
            total = total + (2 * level + 1) * torch.sigmoid((self.loc - cut) / self.scale)
        return (total - mean.square()).clamp(min=0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch) floats 0..L-1."""
        shape = torch.Size(sample_shape) + self.batch_shape
        drawn = self.loc + self.scale * torch.rand(shape, device=self.loc.device, dtype=self.loc.dtype).logit()
        x = torch.zeros_like(drawn)
        for cut in self.cuts.unbind(-1):
            x += drawn > cut
        return x
