"""A likelihood for tables, whose columns are numbers of different kinds; and which likelihood fits which data.

The parameters (*lead, P) hold the columns of one kind together: for n columns of a kind with c parameters, n numbers for
each of the c in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from unveil.data import Column, Measure, column
from unveil.distributions import CutLogistic, LevelCategorical, PositiveNormal, Rescaled, TypedColumns
from unveil.errors import SettingError
from unveil.parts.heads import BOUND, Bernoulli, CrossEntropy, Head, Isotropic, bounded
from unveil.parts.integers import DiscretisedLogistic, NegativeBinomial, log_mean, negative_binomial
from unveil.parts.tabular import TRANSFORMS, moments
from unveil.words import counted

GAP = 5.0
"""The logarithms of the gaps between the cuts of an ordinal column lie between minus this and this."""


RESCALED = ("real", "positive")
"""Kinds whose unit is arbitrary."""


@dataclass(frozen=True)
class Kind:
    """The likelihood of one kind of column.

    Attributes:
        count: parameters of a column with a number of classes.
        make: parameters (*lead, count, n), and the columns' locations and scales (n,), to the distribution of n columns.
        start: mean, location and scale (n,) and the number of classes to parameters (count, n) to begin with.
        centre: what a distribution gives as its mean.
    """

    count: Callable[[int], int]
    make: Callable[[Tensor, Tensor, Tensor], Distribution]
    start: Callable[[Tensor, Tensor, Tensor, int], Tensor]
    centre: Callable[[Distribution], Tensor] = attrgetter("mean")


def _real(parameters: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
    mean, log_scale = parameters.unbind(-2)
    return Rescaled(Normal(mean, bounded(log_scale, BOUND / 2).exp(), validate_args=False), loc, scale)


def _positive(parameters: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
    mean, log_scale = parameters.unbind(-2)
    return PositiveNormal(loc + scale * mean, bounded(log_scale, BOUND / 2) + scale.log(), scale)


def _ordinal(parameters: Tensor, *_: Tensor) -> Distribution:
    # the first cut stands at 0 and the mean moves, so that cuts far from 0 do not lose their gaps to rounding
    loc, gaps = parameters[..., 0, :], bounded(parameters[..., 1:, :], GAP).exp().movedim(-2, -1)
    zero = torch.zeros_like(loc)
    return CutLogistic(loc, zero, torch.cat([zero.unsqueeze(-1), gaps.cumsum(-1)], -1))


def _categorical(parameters: Tensor, *_: Tensor) -> Distribution:
    return LevelCategorical(parameters.movedim(-2, -1))


KINDS: dict[str, Kind] = {
    "real": Kind(
        lambda classes: 2,
        _real,
        lambda mean, loc, scale, classes: torch.stack([(mean - loc) / scale, torch.zeros_like(mean)]),
    ),
    "positive": Kind(
        # the mean of a log-normal with scale 1 is exp(loc + 1/2)
        lambda classes: 2,
        _positive,
        lambda mean, loc, scale, classes: torch.stack(
            [(mean.clamp(min=1e-6).log() - 0.5 - loc) / scale, torch.zeros_like(mean)]
        ),
    ),
    "count": Kind(
        lambda classes: 2,
        lambda parameters, loc, scale: negative_binomial(parameters.unbind(-2)),
        lambda mean, loc, scale, classes: torch.stack([log_mean(mean), torch.zeros_like(mean)]),
    ),
    "ordinal": Kind(
        lambda classes: classes - 1,
        _ordinal,
        # cuts at 0, 1, 2, ...: a mean level lies about half a gap below the cut of its number
        lambda mean, loc, scale, classes: torch.cat([(mean - 0.5).unsqueeze(0), mean.new_zeros(classes - 2, len(mean))]),
    ),
    "categorical": Kind(
        lambda classes: classes,
        _categorical,
        lambda mean, loc, scale, classes: mean.new_zeros(classes, len(mean)),
        attrgetter("mode"),
    ),
}
"""What each kind of column is under."""


class Columns(Head):
    """The columns of a table, each under a likelihood of its kind: log p(x|z) is the sum over columns.

    Real columns are Gaussian, positive ones log-normal (the density is that of x, not of log x), counts negative binomial,
    ordinal ones have cumulative logits, and categorical ones a logit for each class, with x the number of the class. Nats
    are of densities for the first two and of probabilities for the rest, and of the entries that are known: one that is NaN
    is integrated out.

    Real and positive columns may have any unit: `fit` keeps a location and a scale for each, by which the network's numbers
    are rescaled. The density is that of x in its own unit all the same. Without it these are 0 and 1. Standard deviations
    lie between 0.0025 and 400 of that scale.

    Args:
        kinds: of each column: 'real', 'positive', 'count', 'ordinal:5' or 'categorical:3', with the number of classes.

    Source: Nazabal et al. 2020, Handling Incomplete Heterogeneous Data using VAEs, arXiv:1807.03653.
    """

    measures = ("columns",)
    order: Tensor
    loc: Tensor
    scale: Tensor
    fill: Tensor

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        if not kinds or isinstance(kinds, str):
            raise SettingError(f"a table cannot have the columns {kinds!r}; give a sequence with a kind for each")
        self.kinds = tuple(kinds)
        # columns of the same kind are computed together
        self._groups: dict[Column, list[int]] = {}
        for place, kind in enumerate(self.kinds):
            self._groups.setdefault(column(kind), []).append(place)
        places = [place for group in self._groups.values() for place in group]
        self.register_buffer("order", torch.tensor(places))
        self.register_buffer("loc", torch.zeros(len(self.kinds)))
        self.register_buffer("scale", torch.ones(len(self.kinds)))
        self.register_buffer("fill", torch.ones(len(self.kinds)))
        self._sizes = [KINDS[one.kind].count(one.classes) * len(group) for one, group in self._groups.items()]

    @torch.no_grad()
    def fit(self, x: Tensor) -> Columns:
        """Take location and scale of real columns, and of the logarithms of positive ones, from x (N, D); gives itself."""
        for place, kind in enumerate(self.kinds):
            if kind in RESCALED:
                self.loc[place], self.scale[place] = moments(TRANSFORMS[kind](x[:, place]))
        real = torch.tensor([kind == "real" for kind in self.kinds])
        self.fill.copy_(torch.where(real, self.loc, 1.0))
        return self

    def forward(self, parameters: Tensor) -> Distribution:
        parts = parameters.float().split(self._sizes, -1)
        groups = [
            KINDS[one.kind].make(part.unflatten(-1, (-1, len(group))), self.loc[group], self.scale[group])
            for (one, group), part in zip(self._groups.items(), parts, strict=True)
        ]
        return TypedColumns(groups, self.order, [KINDS[one.kind].centre for one in self._groups], self.fill)

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        if tuple(event_shape) != (len(self.kinds),):
            raise SettingError(
                f"{counted(len(self.kinds), 'column')} cannot be the likelihood of x of shape {tuple(event_shape)}"
            )
        return (sum(self._sizes),)

    def start(self, mean: Tensor) -> Tensor:
        begun = [
            KINDS[one.kind].start(mean[group], self.loc[group], self.scale[group], one.classes)
            for one, group in self._groups.items()
        ]
        return torch.cat([part.flatten() for part in begun])


LIKELIHOODS: dict[Measure, tuple[str, Callable[[int, int, Sequence[str]], Head]]] = {
    "binary": ("Bernoulli, with a probability for each entry", lambda dims, *_: Bernoulli(dims)),
    "unit": ("cross-entropy with gray values, which is no normalised likelihood", lambda dims, *_: CrossEntropy(dims)),
    "real": ("Gaussian, with one scale for all entries", lambda dims, *_: Isotropic(dims)),
    "levels": ("discretised logistic", lambda dims, levels, _: DiscretisedLogistic(levels, dims)),
    "count": ("negative binomial", lambda dims, *_: NegativeBinomial(dims)),
    "columns": ("one for each column, by its kind", lambda dims, levels, columns: Columns(columns)),
}
"""What a recipe takes for x of each measure: in words, and from (event_dims, levels, columns)."""


def likelihood_for(measure: Measure, event_dims: int, levels: int = 256, columns: Sequence[str] = ()) -> Head:
    """The likelihood that a recipe takes for x of this measure when nothing else is asked for.

    Args:
        measure: of the space of x.
        event_dims: how many dimensions x has.
        levels: L, where x are levels.
        columns: the kind of each column, where x are columns.

    Raises:
        SettingError: columns of no kind.
    """
    return LIKELIHOODS[measure][1](event_dims, levels, columns)
