"""Recipes that look at the aggregate posterior: to take the rate apart, or to do without it."""

from __future__ import annotations

from unveil.data import Dataset
from unveil.objectives import DipI, DipII, Distortion, InverseMultiquadratic, Mmd, Rate, TotalCorrelation
from unveil.parts import Point
from unveil.recipes.recipe import Composition, Networks, register


@register(
    "beta-tc-vae",
    "independent dimensions: a total correlation that counts beta times",
    "Chen et al. 2018, arXiv:1802.04942",
)
def beta_tc_vae(data: Dataset, networks: Networks, beta: float = 6.0) -> Composition:
    """The VAE with one of the three parts of its rate weighted.

    Attributes:
        beta: weight of the total correlation; 1 for the ELBO.
    """
    return networks.vae(data), Distortion() + networks.warm(Rate() + (beta - 1) * TotalCorrelation())


@register(
    "dip-vae",
    "uncorrelated dimensions of unit scale, by a penalty on the covariance of z",
    "Kumar et al. 2018, arXiv:1711.00848",
)
def dip_vae(
    data: Dataset, networks: Networks, off_diagonal: float = 10.0, diagonal: float = 10.0, spread: bool = True
) -> Composition:
    """The VAE with a penalty on the covariance of its aggregate posterior.

    Attributes:
        off_diagonal: weight of the squared correlations.
        diagonal: weight of the squared distances of variances from 1.
        spread: whether the covariance is that of z (DIP-VAE-II) or of the posterior's means (DIP-VAE-I).
    """
    penalty = DipII(off_diagonal, diagonal) if spread else DipI(off_diagonal, diagonal)
    return networks.vae(data), Distortion() + networks.warm(Rate() + penalty)


@register(
    "wae-mmd",
    "an autoencoder whose points together are made to follow the prior",
    "Tolstikhin et al. 2018, arXiv:1711.01558",
    latent=8,
    kl_warmup=0.0,
)
def wae_mmd(data: Dataset, networks: Networks, weight: float = 1000.0) -> Composition:
    """The Wasserstein autoencoder.

    Attributes:
        weight: of the discrepancy between the points and the prior.
    """
    model = networks.vae(data, posterior=networks.posterior(data, Point(networks.latent)))
    return model, Distortion() + networks.warm(weight * Mmd(InverseMultiquadratic()))


@register(
    "info-vae",
    "a lighter rate for each example, and a discrepancy for all of them together",
    "Zhao et al. 2019, arXiv:1706.02262",
)
def info_vae(data: Dataset, networks: Networks, alpha: float = 0.5, weight: float = 1000.0) -> Composition:
    """The information-maximising VAE.

    Attributes:
        alpha: weight of the mutual information between x and z, of which the rate loses as much; 0 for a full rate.
        weight: of the aggregate's divergence from the prior, lambda of the source.
    """
    rate = (1 - alpha) * Rate() + (alpha + weight - 1) * Mmd()
    return networks.vae(data), Distortion() + networks.warm(rate)
