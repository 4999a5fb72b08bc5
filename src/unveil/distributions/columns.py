"""The columns of a table, each a variable of its own kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.distributions.counts import ROOT

CEILING = 80.0
"""Exponents above this one overflow float32."""


class PositiveNormal(Distribution):
    r"""A log-normal variable; the density is that of x itself.

    .. math:: \log p(x) = \log N(\log x; \mu, s^2) - \log x

    Args:
        loc: (*batch) mean of log x.
        log_scale: logarithm of the standard deviation s of log x, broadcasting with `loc`.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.positive

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale)
        self.scale = self.log_scale.exp()
        super().__init__(self.loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value`, positive, broadcasts against the batch."""
        logarithm = value.log()
        squares = ((logarithm - self.loc) / self.scale).square()
        return -0.5 * squares - self.log_scale - ROOT - logarithm

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        return self.loc + self.log_scale + ROOT + 0.5

    @property
    def mean(self) -> Tensor:
        """(*batch) exp(mu + s² / 2), at most exp(80)."""
        return (self.loc + 0.5 * self.scale.square()).clamp(max=CEILING).exp()

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch), between exp(-80) and exp(80)."""
        noise = torch.randn(torch.Size(sample_shape) + self.batch_shape, device=self.loc.device, dtype=self.loc.dtype)
        return (self.loc + self.scale * noise).clamp(-CEILING, CEILING).exp()


class TypedColumns(Distribution):
    """Columns that are independent of each other, gathered in groups of one kind.

    Args:
        groups: for each kind a distribution whose batch is (*batch, columns of that kind).
        order: (D,) int64: which columns of the table the groups hold, one after another.
        centres: what is given as the mean of each group: the mean, or the mode of a kind that has none.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self, groups: Sequence[Distribution], order: Tensor, centres: Sequence[Callable[[Distribution], Tensor]]
    ) -> None:
        self.groups, self.order, self.centres = tuple(groups), order, tuple(centres)
        super().__init__(groups[0].batch_shape[:-1], order.shape, validate_args=False)

    def log_probs(self, value: Tensor) -> Tensor:
        """(*batch, D) nats of each column by itself; `value` broadcasts against the batch."""
        parts = value.index_select(-1, self.order).split([group.batch_shape[-1] for group in self.groups], -1)
        return self._arranged([group.log_prob(part) for group, part in zip(self.groups, parts, strict=True)])

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats, the sum over columns."""
        return self.log_probs(value).sum(-1)

    def entropies(self) -> Tensor:
        """(*batch, D) nats of each column by itself; NotImplementedError where a kind of column has none in closed form."""
        return self._arranged([group.entropy() for group in self.groups])

    @property
    def mean(self) -> Tensor:
        """(*batch, D) E[x]; of a categorical column the most probable class."""
        return self._arranged([centre(group) for group, centre in zip(self.groups, self.centres, strict=True)])

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, D)."""
        return self._arranged([group.sample(torch.Size(sample_shape)) for group in self.groups])

    def _arranged(self, parts: Sequence[Tensor]) -> Tensor:
        """The groups' values in the order of the table."""
        return torch.cat(list(parts), -1).index_select(-1, self.order.argsort())
