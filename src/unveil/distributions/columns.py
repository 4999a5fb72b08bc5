"""The columns of a table, each a variable of its own kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.distributions.counts import ROOT
from unveil.distributions.levels import LevelCategorical

CEILING = 80.0
"""Exponents above this one overflow float32."""


class PositiveNormal(Distribution):
    r"""A log-normal variable; the density is that of x itself.

    .. math:: \log p(x) = \log N(\log x; \mu, s^2) - \log x

    Args:
        loc: (*batch) mean of log x.
        log_scale: logarithm of the standard deviation s of log x, broadcasting with `loc`.
        unit: of log x, in which a head keeps s within bounds; it changes nothing here.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.positive

    def __init__(self, loc: Tensor, log_scale: Tensor, unit: Tensor | None = None) -> None:
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale)
        self.unit = unit
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


class Rescaled(Distribution):
    r"""Real numbers x = loc + scale * u, where u is what `base` is over; the density is that of x.

    .. math:: \log p(x) = \log p_u((x - loc) / scale) - \log scale

    Args:
        base: over u.
        loc: broadcasting with the batch of `base`.
        scale: likewise, positive.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real

    def __init__(self, base: Distribution, loc: Tensor, scale: Tensor) -> None:
        self.base, self.loc, self.scale = base, loc, scale
        super().__init__(base.batch_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` broadcasts against the batch."""
        # the difference first: loc + scale * mean would round away what tells large numbers apart
        nats: Tensor = self.base.log_prob((value - self.loc) / self.scale)
        return nats - self.scale.log()

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        nats: Tensor = self.base.entropy()
        return nats + self.scale.log()

    @property
    def mean(self) -> Tensor:
        """(*batch)."""
        return self.loc + self.scale * self.base.mean

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch)."""
        return self.loc + self.scale * self.base.sample(torch.Size(sample_shape))


class TypedColumns(Distribution):
    r"""Columns that are independent of each other, gathered in groups of one kind; what is unknown of x counts nothing.

    .. math:: \log p(x) = \sum_{d\,:\,x_d \text{ is known}} \log p_d(x_d)

    An entry that is NaN is one of which nothing is known: it is integrated out, and nats are of the others.

    Args:
        groups: for each kind a distribution whose batch is (*batch, columns of that kind).
        order: (D,) int64: which columns of the table the groups hold, one after another.
        centres: what is given as the mean of each group: the mean, or the mode of a kind that has none.
        fill: (D,) a value that each column admits, near its others: its log-density stands in, before it is left out, where
            nothing is known. None for 1, which every kind admits.

    Source: Nazabal et al. 2020, Handling Incomplete Heterogeneous Data using VAEs, arXiv:1807.03653.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        groups: Sequence[Distribution],
        order: Tensor,
        centres: Sequence[Callable[[Distribution], Tensor]],
        fill: Tensor | None = None,
    ) -> None:
        self.groups, self.order, self.centres = tuple(groups), order, tuple(centres)
        self.fill = torch.ones(order.shape, device=order.device) if fill is None else fill
        super().__init__(groups[0].batch_shape[:-1], order.shape, validate_args=False)

    def log_probs(self, value: Tensor) -> Tensor:
        """(*batch, D) nats of each column by itself, 0 where nothing is known; `value` broadcasts against the batch."""
        unknown = value.isnan()
        filled = torch.where(unknown, self.fill.to(value.dtype), value)
        parts = filled.index_select(-1, self.order).split([group.batch_shape[-1] for group in self.groups], -1)
        nats = self._arranged([group.log_prob(part) for group, part in zip(self.groups, parts, strict=True)])
        return nats.masked_fill(unknown, 0.0)

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

    def chances(self) -> dict[int, Tensor]:
        """(*batch, C) the probability of each class, for the categorical columns by their places."""
        found: dict[int, Tensor] = {}
        start = 0
        for group in self.groups:
            places = self.order[start : start + group.batch_shape[-1]].tolist()
            start += len(places)
            if isinstance(group, LevelCategorical):
                found |= {place: group.log_probs[..., number, :].exp() for number, place in enumerate(places)}
        return found

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, D)."""
        return self._arranged([group.sample(torch.Size(sample_shape)) for group in self.groups])

    def _arranged(self, parts: Sequence[Tensor]) -> Tensor:
        """The groups' values in the order of the table."""
        return torch.cat(list(parts), -1).index_select(-1, self.order.argsort())
