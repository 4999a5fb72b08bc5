"""Autoencoders without a rate, whose z is kept in order by other means, and images compared otherwise than by pixels."""

from __future__ import annotations

from unveil.data import Dataset
from unveil.models import VAE
from unveil.objectives import DecoderNorm, Distortion, GradientPenalty, Norm, Rate, StructuralSimilarity
from unveil.parts import Point
from unveil.recipes.recipe import Composition, Networks, register

GHOSH = "Ghosh et al. 2020, arXiv:1903.12436"


def _autoencoder(data: Dataset, networks: Networks) -> VAE:
    return networks.vae(data, posterior=networks.posterior(data, Point(networks.latent)))


@register("ae", "an autoencoder: it reconstructs, and its samples are no good", "Hinton & Salakhutdinov 2006, Science 313")
def ae(data: Dataset, networks: Networks) -> Composition:
    """The autoencoder: no rate, and no prior that fits."""
    return _autoencoder(data, networks), Distortion()


@register("rae-l2", "an autoencoder with small z and small decoder weights", GHOSH)
def rae_l2(data: Dataset, networks: Networks, norm: float = 0.3, decay: float = 0.01) -> Composition:
    """The regularised autoencoder with weight decay in the decoder.

    Attributes:
        norm: weight of half the squared norm of z.
        decay: weight of half the squared norm of the decoder's weights.
    """
    return _autoencoder(data, networks), Distortion() + norm * Norm() + decay * DecoderNorm()


@register("rae-gp", "an autoencoder with small z and a decoder that is not steep", GHOSH)
def rae_gp(data: Dataset, networks: Networks, norm: float = 1.0, penalty: float = 0.5) -> Composition:
    """The regularised autoencoder with a gradient penalty.

    Attributes:
        norm: weight of half the squared norm of z.
        penalty: weight of the squared norm of the decoder's Jacobian.
    """
    return _autoencoder(data, networks), Distortion() + norm * Norm() + penalty * GradientPenalty()


@register(
    "ms-ssim-vae",
    "images compared by their structure at several scales",
    "Snell et al. 2017, arXiv:1511.06409",
    measures=("binary", "unit"),
)
def ms_ssim_vae(data: Dataset, networks: Networks, weight: float = 200.0) -> Composition:
    """The VAE with structural similarity in the distortion's place.

    Attributes:
        weight: of one minus the similarity, which lies between 0 and 1, beside a rate in nats.
    """
    return networks.vae(data), weight * StructuralSimilarity() + networks.warm(Rate())
