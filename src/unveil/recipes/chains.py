"""Recipes whose posterior is more than one pass of a network: refined by dynamics, or summed over classes."""

from __future__ import annotations

from dataclasses import replace

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.models import SemiSupervised
from unveil.networks import Mlp
from unveil.objectives import Classification, Distortion, Rate
from unveil.parts import CentroidMomentum, EuclideanMomentum, Gaussian, HamiltonianPosterior, Net, Standard
from unveil.recipes.recipe import Composition, Networks, register
from unveil.training.config import Training


@register(
    "hvae",
    "a posterior that takes a few Hamiltonian steps towards the exact one",
    "Caterini et al. 2018, arXiv:1805.11328",
    hidden=(300,),
    kl_warmup=2.0,
    training=Training(epochs=7, learning_rate=3e-3),
)
def hvae(data: Dataset, networks: Networks, steps: int = 3, size: float = 0.05) -> Composition:
    """The Hamiltonian VAE.

    Attributes:
        steps: leapfrog steps.
        size: of a step, to begin with.
    """
    posterior = HamiltonianPosterior(networks.posterior(data), EuclideanMomentum(), networks.latent, steps, size)
    return networks.vae(data, posterior=posterior), Distortion() + networks.warm(Rate())


@register(
    "rhvae",
    "Hamiltonian steps through a latent space whose metric is learned",
    "Chadebec et al. 2020, arXiv:2010.11518",
    hidden=(300,),
    latent=8,
    kl_warmup=2.0,
    training=Training(epochs=6, learning_rate=3e-3),
)
def rhvae(
    data: Dataset,
    networks: Networks,
    steps: int = 2,
    size: float = 0.05,
    centroids: int = 50,
    temperature: float = 2.5,
    floor: float = 0.1,
) -> Composition:
    """The Riemannian Hamiltonian VAE.

    Attributes:
        steps: leapfrog steps.
        size: of a step, to begin with.
        centroids: training examples that the metric rises around.
        temperature: how far each of them reaches.
        floor: the inverse metric far from all of them.
    """
    base = networks.posterior(data)
    momentum = CentroidMomentum(base, networks.latent, centroids, temperature, floor)
    posterior = HamiltonianPosterior(base, momentum, networks.latent, steps, size)
    return networks.vae(data, posterior=posterior), Distortion() + networks.warm(Rate())


@register(
    "m2",
    "learns the classes from a few labels and all images, and keeps class and style apart",
    "Kingma et al. 2014, arXiv:1406.5298",
    labels=True,
    hidden=(256, 256),
    activation="silu",
    kl_warmup=0.0,
    training=Training(epochs=7),
)
def m2(data: Dataset, networks: Networks, known: int = 1000, alpha: float = 1.0) -> Composition:
    """The semi-supervised VAE.

    Attributes:
        known: labels of the training split that it may look at.
        alpha: weight of the mean cross-entropy over these, in nats per example of all.
    """
    if data.train.context is None:
        raise SettingError(f"m2 needs labels, and {data.name} has none; take data with labels, or another recipe")
    if known < 1:
        raise SettingError(f"a classifier cannot learn from {known} labels; give at least 1")
    classes, latent, width = data.train.context.shape[1], networks.latent, networks.hidden[-1]
    trunk = replace(networks, hidden=networks.hidden[:-1] or networks.hidden)
    head = Gaussian(latent)
    model = SemiSupervised(
        Standard(latent),
        trunk.encoder(data, (width,)),
        Mlp((width,), (width,), (classes,), "silu"),
        Net(Mlp((width,), (width,), head.needs((latent,)), "silu", classes), head),
        networks.likelihood(data),
        classes,
    )
    count = min(known, len(data.train))
    return model, Distortion() + networks.warm(Rate()) + Classification(alpha * len(data.train) / count)
