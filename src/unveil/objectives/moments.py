"""Penalties on the first two moments of the aggregate posterior: uncorrelated dimensions of z, each of unit scale."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.decomposition import Factorised, flat
from unveil.objectives.term import Term


class _Covariance(Term):
    couples = True

    def __init__(self, off_diagonal: float = 10.0, diagonal: float = 10.0) -> None:
        super().__init__()
        if off_diagonal < 0 or diagonal < 0:
            raise SettingError(f"a penalty cannot weigh {off_diagonal} and {diagonal}; give weights of at least 0")
        self.off_diagonal, self.diagonal = off_diagonal, diagonal

    @abstractmethod
    def covariance(self, draw: Draw, posterior: Distribution) -> Tensor:
        """(D, D) what is to be the identity."""

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        _, posterior, _ = flat(self, draw)
        covariance = self.covariance(draw, posterior)
        own = covariance.diagonal()
        crossed = (covariance - own.diag()).square().sum()
        penalty = self.off_diagonal * crossed + self.diagonal * (own - 1).square().sum()
        return penalty.expand(draw.batch.x.shape[0])


def _of_means(draw: Draw, posterior: Distribution) -> Tensor:
    """(D, D) the unbiased covariance of the posterior's means over the batch; zero for a lone example."""
    means = draw.gather(posterior.mean.flatten(1))
    centred = means - means.mean(0)
    # autocast would take the product in bfloat16, of which the penalty then squares the error
    with torch.autocast(means.device.type, enabled=False):
        return centred.T @ centred / max(len(means) - 1, 1)


class DipI(_Covariance):
    r"""Means of q(z|x) whose covariance over examples is to be the identity.

    .. math:: \lambda_o \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2,
        \quad C = \mathrm{Cov}_x[\mu(x)]

    Added to the rate, not in its place. C is unbiased; value and gradient are those of its square over a batch, biased
    upwards by its variance. Couples the batch: each example is given the penalty of all. No nats: a number to weigh.

    Args:
        off_diagonal: weight of the correlations, at least 0.
        diagonal: weight of the scales, at least 0.

    Returns:
        The penalty, the same for each example, (B,).

    Raises:
        SettingError: a negative weight, or several layers of z.

    Source: Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts, arXiv:1711.00848.
    """

    def covariance(self, draw: Draw, posterior: Distribution) -> Tensor:
        return _of_means(draw, posterior)


class DipII(_Covariance):
    r"""Values of z whose covariance over examples is to be the identity, the spread of each posterior included.

    .. math:: \lambda_o \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2,
        \quad C = E_x[\mathrm{Var}(z|x)] + \mathrm{Cov}_x[\mu(x)]

    C is the covariance of the aggregate posterior, for a posterior whose dimensions are independent given x. Everything
    else is as in `DipI`.

    Args:
        off_diagonal: weight of the correlations, at least 0.
        diagonal: weight of the scales, at least 0.

    Returns:
        The penalty, the same for each example, (B,).

    Raises:
        SettingError: a negative weight, several layers of z, or a posterior that does not factorise.

    Source: Kumar et al. 2018, arXiv:1711.00848.
    """

    def covariance(self, draw: Draw, posterior: Distribution) -> Tensor:
        if not isinstance(posterior, Factorised):
            raise SettingError(
                f"DipII needs a posterior of independent dimensions, and {type(posterior).__name__} says of none what "
                "its log_probs() are; take DipI(), which reads its mean alone"
            )
        return _of_means(draw, posterior) + draw.gather(posterior.variance.flatten(1)).mean(0).diag()
