"""Likelihoods of integers: levels of gray 0..L-1 as bytes hold them, and counts. Their nats are of probabilities.

The parameters of levels are on a scale of their own, whatever L is: a mean of -1 is level 0 and one of 1 is level L - 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from unveil.distributions import CountNegativeBinomial, CountPoisson, CutLogistic, LevelBetaBinomial, LevelCategorical
from unveil.errors import SettingError
from unveil.parts.heads import BOUND, bounded
from unveil.parts.likelihoods import Entrywise, independent, split, unbounded
from unveil.words import counted

NARROW = 7.0
"""Log-scales of a logistic, relative to half the range of levels, lie between minus this and this."""
LARGE = 16.0
"""Log-rates of counts lie between minus this and this: float32 holds no larger integers exactly."""
BEGIN = -1.0
"""The log-scale that a fresh logistic begins with: about a third of half the range."""


class Levelled(Entrywise):
    """A likelihood of the integers 0..L-1.

    Args:
        levels: L, at least 2.
        event_dims: how many trailing dimensions are the event, 3 for images.
    """

    measures = ("levels",)

    def __init__(self, levels: int = 256, event_dims: int = 3) -> None:
        super().__init__(event_dims)
        if levels < 2:
            raise SettingError(f"{counted(levels, 'level')} cannot tell anything apart; give at least 2")
        self.levels = levels

    def logistic(self, loc: Tensor, log_scale: Tensor) -> CutLogistic:
        """Levels under a logistic, whose parameters are on the scale where the levels lie between -1 and 1."""
        half = (self.levels - 1) / 2
        cuts = torch.arange(self.levels - 1, device=loc.device) + 0.5
        return CutLogistic(half * (loc + 1), bounded(log_scale, NARROW) + torch.full_like(log_scale, half).log(), cuts)

    def relative(self, mean: Tensor) -> Tensor:
        """A mean level on that scale."""
        return 2 * mean / (self.levels - 1) - 1


class DiscretisedLogistic(Levelled):
    """Levels under a logistic variable that is rounded; the two end levels take in the tails.

    The first half of the parameters are means, the second log-scales, bounded smoothly.

    Args:
        levels: L, at least 2.
        event_dims: how many trailing dimensions are the event, 3 for images.

    Source: Kingma et al. 2016, arXiv:1606.04934; Salimans et al. 2017, PixelCNN++, arXiv:1701.05517.
    """

    count = 2

    def forward(self, parameters: Tensor) -> Distribution:
        return independent(self.logistic(*split(parameters, 2, self.event_dims)), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([self.relative(mean), torch.full_like(mean, BEGIN)])


class LogisticMixture(Levelled):
    """Levels under a mixture of rounded logistic variables, for each pixel by itself.

    Of the parameters the first third are the logits of the mixture's weights, the second means, the last log-scales.

    Args:
        components: of the mixture, at least 1.
        levels: L, at least 2.
        event_dims: how many trailing dimensions are the event, 3 for images.

    Source: Salimans et al. 2017, PixelCNN++, arXiv:1701.05517; channels and pixels are independent given z here.
    """

    def __init__(self, components: int = 5, levels: int = 256, event_dims: int = 3) -> None:
        super().__init__(levels, event_dims)
        if components < 1:
            raise SettingError(f"a mixture of {components} components has no density; give at least 1")
        self.components, self.count = components, 3 * components

    def forward(self, parameters: Tensor) -> Distribution:
        parts = torch.stack(split(parameters, self.count, self.event_dims), -1)
        logits, loc, log_scale = parts.chunk(3, -1)
        chosen = Categorical(logits=logits, validate_args=False)
        mixture = MixtureSameFamily(chosen, self.logistic(loc, log_scale), validate_args=False)
        return independent(mixture, self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        # components that begin alike would have the same gradients
        apart = [self.relative(mean) + 0.5 * place for place in torch.linspace(-1, 1, self.components + 2).tolist()[1:-1]]
        many = [torch.zeros_like(mean)] * self.components, [torch.full_like(mean, BEGIN)] * self.components
        return torch.cat([*many[0], *apart, *many[1]])


class Levels(Levelled):
    """A probability of its own for every level of every pixel.

    The parameters are the logits of level 0 of all entries, then of level 1, and so on: L numbers for each entry.

    Args:
        levels: L, at least 2.
        event_dims: how many trailing dimensions are the event, 3 for images.
    """

    def __init__(self, levels: int = 256, event_dims: int = 3) -> None:
        super().__init__(levels, event_dims)
        self.count = levels

    def forward(self, parameters: Tensor) -> Distribution:
        logits = torch.stack(split(parameters, self.levels, self.event_dims), -1)
        return independent(LevelCategorical(logits), self.event_dims)


class BetaBinomial(Levelled):
    """Levels as the number of successes in L - 1 trials: neighbouring levels have neighbouring probabilities.

    The first half of the parameters are logits of the mean, the second the log of how alike the trials' probabilities are
    (of alpha + beta), both bounded smoothly.

    Args:
        levels: L, at least 2.
        event_dims: how many trailing dimensions are the event, 3 for images.
    """

    count = 2

    def forward(self, parameters: Tensor) -> Distribution:
        logits, log_total = (bounded(part) for part in split(parameters, 2, self.event_dims))
        return independent(LevelBetaBinomial(logits, log_total, self.levels), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        share = (mean / (self.levels - 1)).clamp(1e-3, 1 - 1e-3)
        return torch.cat([unbounded(share.logit()), torch.zeros_like(mean)])


class Poisson(Entrywise):
    """Independent Poisson counts; the parameters are log-rates, bounded smoothly.

    Args:
        event_dims: how many trailing dimensions are the event.
    """

    measures = ("count",)

    def forward(self, parameters: Tensor) -> Distribution:
        return independent(CountPoisson(bounded(parameters.float(), LARGE)), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        return log_mean(mean)


class NegativeBinomial(Entrywise):
    """Independent counts that vary more than Poisson ones do: with mean m and shape k the variance is m + m² / k.

    The first half of the parameters are log m, the second log k, both bounded smoothly.

    Args:
        event_dims: how many trailing dimensions are the event.
    """

    measures = ("count",)
    count = 2

    def forward(self, parameters: Tensor) -> Distribution:
        return independent(negative_binomial(split(parameters, 2, self.event_dims)), self.event_dims)

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([log_mean(mean), torch.zeros_like(mean)])


def negative_binomial(parameters: Sequence[Tensor]) -> CountNegativeBinomial:
    """Counts of two unbounded parameters."""
    return CountNegativeBinomial(bounded(parameters[0], LARGE), bounded(parameters[1], BOUND))


def log_mean(mean: Tensor) -> Tensor:
    """The parameter with which counts begin at `mean`; one that was never seen begins at a thousandth."""
    return unbounded(mean.clamp(min=1e-3).log(), LARGE)
