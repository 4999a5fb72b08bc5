"""The maximum mean discrepancy between z of the data and z of the prior: no density of either is needed, only samples.

Kernels see how far two points are apart in units in which two independent draws from a standard normal prior are 1 apart
on average, whatever the number of dimensions, so that one choice of scales serves all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.decomposition import flat
from unveil.objectives.term import Term


class Kernel(nn.Module):
    """A positive definite function of squared distances, 1 at zero: a mean over scales.

    Args:
        scales: at least one, each positive.

    Raises:
        SettingError: no scales, or one that is not positive.
    """

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        if not self.scales or min(self.scales) <= 0:
            raise SettingError(f"a kernel cannot have scales {self.scales}; give positive ones")

    @abstractmethod
    def at(self, ratio: Tensor) -> Tensor:
        """Its value at squared distances in units of the squared scale."""

    def forward(self, squares: Tensor) -> Tensor:
        """The kernel at squared distances `squares`, elementwise."""
        return torch.stack([self.at(squares / scale**2) for scale in self.scales]).mean(0)


class Rbf(Kernel):
    r"""Gaussian kernels.

    .. math:: k(r^2) = \frac1S \sum_s \exp(-r^2 / s^2)

    Args:
        scales: at least one, each positive; 1 is the distance of two draws from a standard normal prior.
    """

    def __init__(self, scales: Sequence[float] = (0.5, 1.0, 2.0)) -> None:
        super().__init__(scales)

    def at(self, ratio: Tensor) -> Tensor:
        return torch.exp(-ratio)


class InverseMultiquadratic(Kernel):
    r"""Kernels with heavy tails: points far from the prior still feel where it is.

    .. math:: k(r^2) = \frac1S \sum_s \frac{s^2}{s^2 + r^2}

    Args:
        scales: at least one, each positive; 1 is the distance of two draws from a standard normal prior.

    Source: Tolstikhin et al. 2018, arXiv:1711.01558.
    """

    def __init__(self, scales: Sequence[float] = (0.3, 0.45, 0.7, 1.0, 1.4, 2.2, 3.2)) -> None:
        super().__init__(scales)

    def at(self, ratio: Tensor) -> Tensor:
        return 1 / (1 + ratio)


class Mmd(Term):
    r"""How far the aggregate posterior is from the prior, told by samples: a U-statistic.

    .. math:: \mathrm{MMD}^2 = E\,k(z, z') - 2 E\,k(z, w) + E\,k(w, w'), \quad z, z' \sim q(z), \; w, w' \sim p(z)

    Each example's value is the mean of its pairs, none with itself; the mean over the batch is the U-statistic, which is
    unbiased for the squared discrepancy, hence sometimes negative, and so is its gradient. It is zero only where q(z) is
    the prior, and works for a posterior without density. Couples the batch. No nats: at most 2, a number to weigh by
    hundreds beside a distortion in nats. A lone example has no pairs and counts 0.

    Args:
        kernel: of squared distances per dimension, `InverseMultiquadratic()` for None, or `Rbf()`.

    Returns:
        The discrepancy by example, (B,).

    Raises:
        SettingError: several layers of z.

    Source: Gretton et al. 2012, A Kernel Two-Sample Test; Tolstikhin et al. 2018, Wasserstein Auto-Encoders,
    arXiv:1711.01558; Zhao et al. 2019, InfoVAE, arXiv:1706.02262.
    """

    couples = True

    def __init__(self, kernel: nn.Module | None = None) -> None:
        super().__init__()
        self.kernel = kernel or InverseMultiquadratic()

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        z, _, prior = flat(self, draw)
        mine, theirs = z.flatten(2), of_prior(prior, z).flatten(2)
        every, of_every = draw.gather(mine, 1), draw.gather(theirs, 1)
        between = self._pairs(mine, of_every)
        back = between if draw.whole else self._pairs(every, theirs)
        within = self._others(mine, every, draw.place) + self._others(theirs, of_every, draw.place)
        discrepancy = draw.mean(within - between.mean(-1) - back.mean(-2))
        return discrepancy if every.shape[1] > 1 else 0 * discrepancy

    def _pairs(self, a: Tensor, b: Tensor) -> Tensor:
        """(K, A, B) the kernel between each of `a` (K, A, D) and each of `b` (K, B, D)."""
        # differences one by one: expanding the square would lose the nearest pairs to rounding
        squares = (a.unsqueeze(2) - b.unsqueeze(1)).square().mean(-1) / 2
        values: Tensor = self.kernel(squares)
        return values

    def _others(self, a: Tensor, every: Tensor, place: slice) -> Tensor:
        """(K, A) the mean kernel of each of `a`, which are at `place` among `every` (K, B, D), with the others."""
        pairs = self._pairs(a, every)
        return (pairs.sum(-1) - pairs.diagonal(place.start, dim1=1, dim2=2)) / max(every.shape[1] - 1, 1)


def of_prior(prior: Distribution, z: Tensor) -> Tensor:
    """As many draws from the prior as `z` (K, B, *latent) has, with gradient where they can carry one."""
    draw = prior.rsample if prior.has_rsample else prior.sample
    return draw(z.shape[: 1 if prior.batch_shape else 2])
