"""Recipes with a critic: a second player beside the model, trained in the same step."""

from __future__ import annotations

from dataclasses import replace

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.networks import Mlp
from unveil.objectives import (
    AdversarialPrior,
    AdversarialSamples,
    Critic,
    DensityRatioCorrelation,
    Distortion,
    FeatureDistortion,
    Rate,
)
from unveil.parts import Point
from unveil.recipes.recipe import Composition, Networks, register
from unveil.training.config import Training


def _critic(networks: Networks, width: int) -> Mlp:
    return Mlp((networks.latent,), (width, width), (1,), "silu")


@register(
    "factor-vae",
    "independent dimensions: a total correlation told by a critic",
    "Kim & Mnih 2018, arXiv:1802.05983",
)
def factor_vae(data: Dataset, networks: Networks, gamma: float = 6.0, critic: int = 256) -> Composition:
    """The VAE with a total correlation that a density ratio estimates.

    Attributes:
        gamma: weight of the total correlation, beside the one that the rate holds.
        critic: width of the critic's two hidden layers.
    """
    correlation = DensityRatioCorrelation(_critic(networks, critic))
    return networks.vae(data), Distortion() + networks.warm(Rate()) + gamma * correlation


@register(
    "aae",
    "an autoencoder whose points a critic cannot tell from the prior's",
    "Makhzani et al. 2015, arXiv:1511.05644",
    latent=8,
)
def aae(data: Dataset, networks: Networks, weight: float = 10.0, critic: int = 256) -> Composition:
    """The adversarial autoencoder.

    Attributes:
        weight: of what the critic says beside the distortion.
        critic: width of the critic's two hidden layers.
    """
    model = networks.vae(data, posterior=networks.posterior(data, Point(networks.latent)))
    return model, Distortion() + weight * AdversarialPrior(_critic(networks, critic))


@register(
    "vae-gan",
    "distortion in the eyes of a critic that tells data from samples: sharp pictures",
    "Larsen et al. 2016, arXiv:1512.09300",
    training=Training(validate_every=0),
    activation="silu",
)
def vae_gan(
    data: Dataset, networks: Networks, weight: float = 1.0, pixels: float = 0.1, critic: tuple[int, ...] = (256, 64)
) -> Composition:
    """The VAE whose likelihood is learned by an adversary.

    Attributes:
        weight: of the adversary beside the distortion of features.
        pixels: weight of the distortion of x, which steadies the first epochs.
        critic: width of each hidden layer of the critic; of the last one's features distortion is measured.
    """
    if data.train.gaps:
        raise SettingError(f"vae-gan's critic would tell {data.name} from samples by its gaps; fill them, or take vae")
    *hidden, size = critic
    judge = Critic(replace(networks, hidden=tuple(hidden)).encoder(data, (size,)), size)
    distortion = pixels * Distortion() + FeatureDistortion(judge)
    return networks.vae(data), distortion + networks.warm(Rate()) + weight * AdversarialSamples(judge)
