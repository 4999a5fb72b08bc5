"""Priors that are learned with the model, and how one that is learned afterwards is trained."""

from __future__ import annotations

from dataclasses import replace

from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.objectives import Distortion, Rate
from unveil.parts import Coupling, Exemplar, Vamp
from unveil.recipes.recipe import RECIPES, Composition, Networks, register
from unveil.training.config import Training

REFIT = Training(epochs=10)
"""How a new prior is trained when nothing else is asked for."""
UNIT = (0.0, 1.0)


def pseudo_input_bounds(data: Dataset) -> tuple[float, float] | None:
    """Where pseudo-inputs for these data are kept."""
    return UNIT if data.space.measure in ("binary", "unit") else None


@register(
    "vamp",
    "a prior that is a mixture of the posteriors of learned pseudo-inputs",
    "Tomczak & Welling 2018, VAE with a VampPrior, arXiv:1705.07120",
    latent=40,
)
def vamp(data: Dataset, networks: Networks, pseudo_inputs: int = 200) -> Composition:
    """The VAE with a VampPrior, whose pseudo-inputs begin at training examples.

    Attributes:
        pseudo_inputs: how many.
    """
    posterior = networks.posterior(data)
    prior = Vamp(posterior, pseudo_inputs, data.space.shape, pseudo_input_bounds(data))
    prior.start(data.train)
    return networks.vae(data, prior=prior, posterior=posterior), Distortion() + networks.warm(Rate())


@register(
    "exemplar",
    "a prior around training examples, which the saved weights carry",
    "Norouzi et al. 2020, Exemplar VAE, arXiv:2004.04795",
    latent=40,
)
def exemplar(data: Dataset, networks: Networks, exemplars: int = 500) -> Composition:
    """The VAE with an exemplar prior.

    Attributes:
        exemplars: how many training examples the prior is made of; all where there are fewer.
    """
    if len(data.train) < 2:
        raise SettingError(f"{data.name} has too few training examples for exemplars; take another recipe")
    posterior = networks.posterior(data)
    prior = Exemplar(posterior, min(exemplars, len(data.train)), data.space.shape)
    return networks.vae(data, prior=prior, posterior=posterior), Distortion() + networks.warm(Rate())


@register(
    "flow-prior",
    "a prior that is a normalising flow of affine couplings",
    "Dinh et al. 2017, Density Estimation using Real NVP, arXiv:1605.08803",
    latent=40,
)
def flow_prior(data: Dataset, networks: Networks, transforms: int = 6, width: int = 128) -> Composition:
    """The VAE with a flow for its prior.

    Attributes:
        transforms: coupling layers.
        width: of their networks' two hidden layers.
    """
    prior = Coupling(networks.latent, transforms, (width, width))
    return networks.vae(data, prior=prior), Distortion() + networks.warm(Rate())


RECIPES["mnist"] = replace(
    RECIPES["flow-prior"].given(transforms=4, width=64, kl_warmup=10.0),
    name="mnist",
    summary="40 dimensions under a small flow, between gated layers: good nats in minutes",
    training=Training(epochs=70, learning_rate=3e-3, average=0.999),
)
RECIPES["mnist-flow"] = replace(
    RECIPES["flow-prior"].given(kl_warmup=20.0),
    name="mnist-flow",
    summary="for records on MNIST: the layers of mnist under a larger flow; 20 minutes on 2 cores",
    training=Training(epochs=220, average=0.999),
)
RECIPES["mnist-conv"] = replace(
    RECIPES["flow-prior"].given(network="resnet", channels=(32, 64, 128), blocks=2, gain=1.0, kl_warmup=20.0),
    name="mnist-conv",
    summary="for records on MNIST: residual convolutions under a flow; 90 minutes on 2 cores",
    training=Training(epochs=85, learning_rate=3e-3, average=0.999, validate_every=2),
)
