"""Latent spaces that are not flat: the sphere, which has no centre to crowd into, and the ball, where trees fit."""

from __future__ import annotations

from unveil.data import Dataset
from unveil.objectives import Distortion, Rate
from unveil.parts import LogMap, Net, PoincareNormal, UniformSphere, VonMisesFisher, WrappedNormal
from unveil.recipes.recipe import Composition, Networks, register


@register(
    "svae",
    "directions instead of points: a von Mises-Fisher posterior under a uniform prior on the sphere",
    "Davidson et al. 2018, Hyperspherical Variational Auto-Encoders, arXiv:1804.00891",
    latent=10,
)
def svae(data: Dataset, networks: Networks) -> Composition:
    """The hyperspherical VAE; `latent` counts the dimensions of the space around the sphere."""
    model = networks.vae(data, UniformSphere(networks.latent), networks.posterior(data, VonMisesFisher(networks.latent)))
    return model, Distortion() + networks.warm(Rate())


@register(
    "poincare-vae",
    "a hyperbolic latent space: wrapped normals on the Poincaré ball",
    "Mathieu et al. 2019, Hierarchical Representations with Poincaré Variational Auto-Encoders, arXiv:1901.06033",
    latent=5,
)
def poincare_vae(data: Dataset, networks: Networks, curvature: float = 1.0, prior_scale: float = 1.0) -> Composition:
    """The VAE on the Poincaré ball, whose decoder sees the way to z from the origin.

    Attributes:
        curvature: c of the ball, whose curvature is -c.
        prior_scale: standard deviation of the prior along each axis, a distance.
    """
    posterior = networks.posterior(data, WrappedNormal(networks.latent, curvature))
    likelihood = networks.likelihood(data)
    likelihood = Net(LogMap(likelihood.network, curvature), likelihood.head)
    model = networks.vae(data, PoincareNormal(networks.latent, prior_scale, curvature), posterior, likelihood)
    return model, Distortion() + networks.warm(Rate())
