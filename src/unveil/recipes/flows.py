"""Recipes whose posterior a flow bends beyond the Gaussian."""

from __future__ import annotations

from collections.abc import Sequence

from unveil.data import Dataset
from unveil.objectives import Distortion, Rate
from unveil.parts import Flowed, FlowLayer, Gaussian, InverseAutoregressive, Planar, Radial
from unveil.recipes.recipe import Composition, Networks, register
from unveil.training.config import Training


@register(
    "vae-linear-flow",
    "a posterior bent by planar and radial maps of its own for each x",
    "Rezende & Mohamed 2015, arXiv:1505.05770",
    training=Training(epochs=20),
)
def vae_linear_flow(data: Dataset, networks: Networks, planar: int = 8, radial: int = 2) -> Composition:
    """The VAE with a normalising flow for a posterior.

    Attributes:
        planar: how many planar maps.
        radial: how many radial maps, which follow them.
    """
    layers = [*(Planar(networks.latent) for _ in range(planar)), *(Radial(networks.latent) for _ in range(radial))]
    return _flowed(data, networks, layers)


@register(
    "vae-iaf",
    "a posterior bent by inverse autoregressive networks",
    "Kingma et al. 2016, arXiv:1606.04934",
    training=Training(epochs=20),
)
def vae_iaf(data: Dataset, networks: Networks, steps: int = 2, width: int = 128, context: int = 32) -> Composition:
    """The VAE with an inverse autoregressive flow for a posterior.

    Attributes:
        steps: how many maps, each in the order of dimensions opposite to the last.
        width: of the hidden layer of each map's network.
        context: how many numbers the encoder gives each map.
    """
    layers = [InverseAutoregressive(networks.latent, (width,), context, bool(step % 2)) for step in range(steps)]
    return _flowed(data, networks, layers)


def _flowed(data: Dataset, networks: Networks, layers: Sequence[FlowLayer]) -> Composition:
    posterior = networks.posterior(data, Flowed(Gaussian(networks.latent), layers))
    return networks.vae(data, posterior=posterior), Distortion() + networks.warm(Rate())
