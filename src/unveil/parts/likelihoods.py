"""Likelihoods of real numbers and of gray values in [0, 1], beside the Gaussian ones of `heads`.

Each is a head: a network gives its parameters, entry by entry and kind by kind along the first dimension of an event, so
that an image of C channels needs n C channels of parameters.
"""

from __future__ import annotations

from math import exp, log
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import StudentT as TorchStudentT

from unveil.data import Measure
from unveil.distributions import DiagonalGaussian, TiltedUniform
from unveil.errors import SettingError
from unveil.parts.heads import BOUND, Head, bounded
from unveil.words import counted

DEGREES = 3.0
"""Log-degrees of freedom above 2 lie between minus this and this: from 2.05 to 22, where Student's t is nearly Gaussian."""


def split(parameters: Tensor, count: int, event_dims: int) -> tuple[Tensor, ...]:
    """`count` parameters (*lead, *event), in float32, of what a network gave (*lead, count C, ...).

    Raises:
        SettingError: the network gave a number that `count` does not divide.
    """
    given = parameters.shape[-event_dims]
    if given % count:
        raise SettingError(
            f"this likelihood takes {counted(count, 'number')} for each entry; the network gave {given} for all"
        )
    return parameters.float().chunk(count, dim=-event_dims)


def unbounded(value: Tensor, bound: float = BOUND) -> Tensor:
    """What `bounded` takes to `value`, if that lies well within the bound."""
    return bound * torch.atanh((value / bound).clamp(-0.95, 0.95))


def independent(base: Distribution, event_dims: int) -> Distribution:
    """The last dimensions of a batch of single variables become the event."""
    return Independent(base, event_dims, validate_args=False)


class Entrywise(Head):
    """A likelihood under which entries are independent, each with `count` parameters.

    Attributes:
        count: how many numbers the network gives for each entry.

    Args:
        event_dims: how many trailing dimensions are the event, 3 for images.
    """

    count: int = 1

    def __init__(self, event_dims: int = 1) -> None:
        super().__init__()
        if event_dims < 1:
            raise SettingError(f"an event cannot have {event_dims} dimensions; give at least 1")
        self.event_dims = event_dims

    def needs(self, event_shape: Any) -> tuple[int, ...]:
        return (self.count * event_shape[0], *event_shape[1:])


class ContinuousBernoulli(Entrywise):
    """Gray values in [0, 1] under the continuous Bernoulli, which is a density where the cross-entropy is none.

    The parameters are logits, bounded smoothly. On pixels that are black in every image the density would otherwise grow
    without end, and a model that works at those learns little else; means so lie between 1 / bound and 1 - 1 / bound. Nats
    are those of real gray values: they compare with other densities of the same values, of the same bound at best.

    Args:
        event_dims: how many trailing dimensions are the event, 3 for images.
        bound: of the logits, positive and at most 1000; a logit of 255 concentrates on one level of a byte.

    Source: Loaiza-Ganem & Cunningham 2019, The Continuous Bernoulli, arXiv:1907.06845.
    """

    measures = ("unit",)

    def __init__(self, event_dims: int = 3, bound: float = 30.0) -> None:
        super().__init__(event_dims)
        if not 0 < bound <= 1000:
            raise SettingError(f"logits cannot lie between -{bound} and {bound}; give a bound above 0 and at most 1000")
        self.bound = bound

    def forward(self, parameters: Tensor) -> Distribution:
        return independent(TiltedUniform(bounded(parameters.float(), self.bound)), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        # the mean has no inverse in closed form, and rises with the logit; where it is extreme, begin well within the bound
        high = torch.full_like(mean, 2 / 3 * self.bound)
        low = -high
        for _ in range(40):
            middle = (low + high) / 2
            below = TiltedUniform(middle).mean < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return unbounded((low + high) / 2, self.bound)


class Laplace(Entrywise):
    r"""Independent Laplace variables: the absolute error in place of the squared one, which outliers move less.

    .. math:: \log p(x) = -|x - \mu| / s - \log 2 s

    The first half of the parameters are medians, the second log-scales, bounded smoothly.

    Args:
        event_dims: how many trailing dimensions are the event.
    """

    measures = ("real",)
    count = 2

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_scale = split(parameters, 2, self.event_dims)
        scale = bounded(log_scale, BOUND / 2).exp()
        return independent(TorchLaplace(loc, scale, validate_args=False), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.zeros_like(mean)])


class StudentT(Entrywise):
    r"""Independent Student's t variables, whose tails are learned: nearly Gaussian, or heavy.

    .. math:: p(x) \propto \big(1 + (x - \mu)^2 / (\nu s^2)\big)^{-(\nu + 1) / 2} / s

    The parameters are means, log-scales, and what makes the degrees of freedom nu; those lie above 2, so that a mean and a
    variance exist.

    Args:
        event_dims: how many trailing dimensions are the event.

    Source: Takahashi et al. 2018, Student-t Variational Autoencoder for Robust Density Estimation, IJCAI.
    """

    measures = ("real",)
    count = 3

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_scale, tail = split(parameters, 3, self.event_dims)
        degrees, scale = 2 + bounded(tail, DEGREES).exp(), bounded(log_scale, BOUND / 2).exp()
        return independent(TorchStudentT(degrees, loc, scale, validate_args=False), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.zeros_like(mean), unbounded(torch.full_like(mean, log(4)), DEGREES)])


class OptimalSigma(Entrywise):
    r"""Gaussians around the parameters, with one scale for all entries: the one that fits the training data best.

    .. math:: \sigma^2 = \overline{(x - \mu)^2}

    The bar is the mean over entries, examples and draws of the last steps, about `window` of them. For the parameters the
    gradient is that of the likelihood with its best sigma, since a derivative by sigma is zero there; no weight is learned,
    and no example's loss depends on another's. Sigma is a constant in every density, so this is a normalised likelihood and
    its nats compare with other densities of x; were it taken from the x that is judged, they would not. On gray values in
    [0, 1] some of its mass lies outside.

    Args:
        event_dims: how many trailing dimensions are the event.
        window: steps that the mean reaches back, at least 1.

    Source: Rybkin et al. 2021, Simple and Effective VAE Training with Calibrated Decoders, arXiv:2006.13202.
    """

    measures: tuple[Measure, ...] = ("real", "unit")
    variance: Tensor
    seen: Tensor

    def __init__(self, event_dims: int = 1, window: int = 20) -> None:
        super().__init__(event_dims)
        if window < 1:
            raise SettingError(f"a mean over {window} steps does not exist; give a window of at least 1")
        self.window = window
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, parameters: Tensor) -> Distribution:
        # the same least scale as other Gaussians have: of a constant the density is not to become infinite
        log_scale = 0.5 * self.variance.clamp(min=exp(-BOUND)).log()
        return DiagonalGaussian(parameters.float(), log_scale, self.event_dims)

    @torch.no_grad()
    def update(self, draw: Any) -> None:
        """Take in the squared errors of a step."""
        error = draw.gather(draw.mean((draw.batch.x - draw.output.mean).square().flatten(2).mean(-1))).mean()
        self.seen += 1
        self.variance.lerp_(error.to(self.variance), 1 / self.seen.clamp(max=self.window))

    def start(self, mean: Tensor) -> Tensor:
        return mean
