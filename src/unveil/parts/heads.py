"""Heads turn a network's numbers into a distribution over z or x, and say which spaces of x they are for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import atanh, inf, log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Measure
from unveil.distributions import DiagonalGaussian, IndependentBernoulli
from unveil.errors import SettingError
from unveil.part import Part

BOUND = 12.0
"""Log-variances lie between -BOUND and BOUND: scales from 0.0025 to 400."""


def bounded(raw: Tensor, bound: float = BOUND) -> Tensor:
    """A smooth bound, nearly the identity around zero: no gradient jumps, and no input makes the variance overflow."""
    return bound * torch.tanh(raw / bound)


class Head(Part):
    """Parameters to a distribution.

    Attributes:
        measures: the measures of the spaces that it is a likelihood for; empty for one of z alone.
        normalised: whether its `log_prob` is a log-likelihood of x.
    """

    measures: tuple[Measure, ...] = ()
    normalised: ClassVar[bool] = True

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution:
        """The distribution with `parameters` (*lead, ...); its batch shape is lead."""

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the parameters for one event of `event_shape`: what the network is to give."""
        return tuple(event_shape)

    def start(self, mean: Tensor) -> Tensor | None:
        """Parameters around which a fresh likelihood should begin, given the data's mean (*event); None: anywhere."""
        return None


class Gaussian(Head):
    """Independent Gaussians whose means and log-variances are both predicted.

    Of the parameters (*lead, 2 C, ...) the first half are means, the second log-variances, bounded smoothly.

    Args:
        event_shape: shape (C, ...) of one event, or the number D of dimensions of a vector.

    Example:
        >>> import torch
        >>> from unveil.parts import Gaussian
        >>> q = Gaussian(2)(torch.tensor([1.0, -1.0, 0.0, 0.0]))  # two means, two log-variances
        >>> q.mean, q.stddev
        (tensor([ 1., -1.]), tensor([1., 1.]))
    """

    measures = ("real",)

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if min(self.event_shape, default=0) < 1:
            raise SettingError(f"a Gaussian over shape {self.event_shape} has no dimensions; give positive numbers")

    def forward(self, parameters: Tensor) -> Distribution:
        dims = len(self.event_shape)
        mean, log_variance = parameters.float().chunk(2, dim=-dims)
        if mean.shape[-dims:] != self.event_shape:
            given, needed = tuple(parameters.shape[-dims:]), (2 * self.event_shape[0], *self.event_shape[1:])
            raise SettingError(f"Gaussian{self.event_shape} takes parameters of shape {needed}; the network gave {given}")
        return DiagonalGaussian(mean, bounded(0.5 * log_variance, 0.5 * BOUND), dims)

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (2 * event_shape[0], *event_shape[1:])

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.zeros_like(mean)])


class Isotropic(Head):
    """Independent Gaussians around the parameters, with one scale for all entries and examples, learned or fixed.

    x may have any unit: `fit` takes one, in which parameters and scale are counted from then on. The density is still that
    of x.

    Args:
        event_dims: how many trailing dimensions are the event.
        scale: the standard deviation to begin with, positive.
        learned: whether it is learned.
    """

    measures = ("real",)
    unit: Tensor

    def __init__(self, event_dims: int = 1, scale: float = 1.0, learned: bool = True) -> None:
        super().__init__()
        if not 0 < scale < inf:
            raise SettingError(f"a Gaussian cannot have scale {scale}; give a positive one")
        if learned and not abs(2 * log(scale)) < 0.95 * BOUND:
            raise SettingError(f"a learned scale cannot begin at {scale}; bring x to a scale between 0.01 and 100 first")
        self.event_dims, self.scale, self.learned = event_dims, scale, learned
        start = BOUND * atanh(2 * log(scale) / BOUND) if learned else 2 * log(scale)  # the bound undone
        self.log_variance = nn.Parameter(torch.tensor(start), requires_grad=learned)
        self.register_buffer("unit", torch.ones(()))

    @torch.no_grad()
    def fit(self, unit: float) -> Isotropic:
        """Count parameters and scale in this unit, such as the spread of x; gives itself."""
        self.unit.fill_(unit)
        return self

    def forward(self, parameters: Tensor) -> Distribution:
        log_variance = bounded(self.log_variance) if self.learned else self.log_variance
        log_scale = 0.5 * log_variance + self.unit.log()
        return DiagonalGaussian(self.unit * parameters.float(), log_scale, self.event_dims, self.unit)

    def start(self, mean: Tensor) -> Tensor:
        return mean / self.unit


class Bernoulli(Head):
    """Independent pixels that are 0 or 1; the parameters are their logits.

    Args:
        event_dims: how many trailing dimensions are the event, 3 for images.

    Example:
        >>> import torch
        >>> from unveil.parts import Bernoulli
        >>> coins = Bernoulli(event_dims=1)(torch.zeros(2))
        >>> coins.log_prob(torch.tensor([0.0, 1.0]))  # two tosses, -2 log 2 nats
        tensor(-1.3863)
    """

    measures: tuple[Measure, ...] = ("binary",)

    def __init__(self, event_dims: int = 3) -> None:
        super().__init__()
        self.event_dims = event_dims

    def forward(self, parameters: Tensor) -> Distribution:
        return IndependentBernoulli(parameters, self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        # a pixel that is never set would begin at minus infinity
        return torch.logit(mean.clamp(1e-3, 1 - 1e-3))


class CrossEntropy(Bernoulli):
    """Gray pixels under a Bernoulli: minus the cross-entropy, which is no likelihood of gray values.

    Cross-entropy + rate is the expected -ELBO of the stochastically binarised image under an encoder that sees the gray
    one; it is printed under that name and compared with -ELBO rows alone.

    Args:
        event_dims: how many trailing dimensions are the event, 3 for images.
    """

    measures = ("unit",)
    normalised = False
