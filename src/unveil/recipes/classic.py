"""The variational autoencoder and its bounds: what changes is the objective, and for some the weight of a term."""

from __future__ import annotations

from dataclasses import replace

from unveil.data import Dataset
from unveil.objectives import Distortion, Iwae, Rate
from unveil.recipes.recipe import RECIPES, Composition, Networks, register
from unveil.training.config import Training

KINGMA = "Kingma & Welling 2014, arXiv:1312.6114"


@register("vae", "the variational autoencoder, with a likelihood that fits the data", KINGMA)
def vae(data: Dataset, networks: Networks) -> Composition:
    """The variational autoencoder."""
    return networks.vae(data), Distortion() + networks.warm(Rate())


@register(
    "mnist-2d",
    "two latent dimensions: a plane to look at",
    KINGMA,
    training=Training(epochs=18, learning_rate=5e-3),
    latent=2,
    hidden=(512, 256, 128),
    activation="silu",
    kl_warmup=0.0,
)
def mnist_2d(data: Dataset, networks: Networks, samples: int = 1) -> Composition:
    """The VAE of a plane, or one trained by weighted draws, whose posteriors are no Gaussians there.

    Attributes:
        samples: K, draws for each example: 1 for the ELBO, more for the bound of Burda et al. 2016, which takes longer.
    """
    rate = networks.warm(Rate())
    return networks.vae(data), Distortion() + rate if samples == 1 else Iwae(samples, "dreg")


RECIPES["table"] = replace(
    RECIPES["vae"].given(hidden=(128, 128), activation="silu"),
    name="table",
    summary="for tables, which have few columns: small networks",
    source=f"{KINGMA}; likelihoods as in Nazabal et al. 2020, arXiv:1807.03653",
    training=Training(learning_rate=3e-3),
    measures=("columns",),
)


@register(
    "cvae",
    "conditioned on the label: ask for a digit by sample --label 7",
    "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional Generative Models",
    labels=True,
)
def cvae(data: Dataset, networks: Networks) -> Composition:
    """Posterior and likelihood see the label as well."""
    return networks.vae(data), Distortion() + networks.warm(Rate())


@register("beta-vae", "a rate that counts beta times", "Higgins et al. 2017, beta-VAE, ICLR")
def beta_vae(data: Dataset, networks: Networks, beta: float = 4.0) -> Composition:
    """The VAE with a weighted rate.

    Attributes:
        beta: weight of the rate; 1 for the ELBO.
    """
    return networks.vae(data), Distortion() + networks.warm(beta * Rate())


@register("iwae", "a tighter bound from several weighted draws", "Burda et al. 2016, arXiv:1509.00519", kl_warmup=0.0)
def iwae(data: Dataset, networks: Networks, samples: int = 5) -> Composition:
    """The importance-weighted autoencoder.

    Attributes:
        samples: K, draws for each example.
    """
    return networks.vae(data), Iwae(samples, "dreg")


RECIPES["iwae-50"] = replace(
    RECIPES["iwae"].given(latent=50, hidden=(200, 200), activation="tanh", samples=50),
    name="iwae-50",
    summary="for records on MNIST: 50 draws and the network of the paper; an hour on 2 cores",
    training=Training(epochs=150, batch_size=100, average=0.999, validate_every=2),
)
