"""The parts that everything starts with."""

import torch

from cases.case import Case, Density
from unveil.distributions import DiagonalGaussian
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Bernoulli, Gaussian, Net, Standard
from unveil.recipes import recipe

E = (1, 6, 5)


def small(prior=None, posterior=None, likelihood=None, latent=3):
    """A VAE for the tiny images."""
    return VAE(
        prior or Standard(latent),
        posterior or Net(Mlp(E, (8,), (2 * latent,)), Gaussian(latent)),
        likelihood or Net(Mlp((latent,), (8,), E), Bernoulli(3)),
    )


def of(objective):
    """The plain VAE with an objective of its own."""
    return lambda data: (small(), objective())


def named(name, **settings):
    """A recipe, made small."""

    def compose(data):
        chosen = recipe(name).given(**{"latent": 3, "hidden": (8,), "channels": (4, 4), **settings})
        return chosen.compose(chosen.prepare(data))

    return compose


CASES = [
    Case("elbo", of(lambda: Distortion() + Rate())),
    Case("beta", of(lambda: Distortion() + 4 * Rate())),
    Case("sticking", of(lambda: Distortion() + Rate("sticking"))),
    Case("iwae", of(lambda: Iwae(4))),
    Case("iwae-sticking", of(lambda: Iwae(4, "sticking"))),
    Case("iwae-dreg", of(lambda: Iwae(4, "dreg"))),
    Case("conv", named("vae", network="conv")),
    Case("resnet", named("vae", network="resnet", blocks=2)),
    Case("tanh", named("vae", activation="tanh")),
]
DENSITIES = [
    Density(
        "diagonal",
        lambda: DiagonalGaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.3, -0.5])),
        lambda: DiagonalGaussian(torch.tensor([1.2, -2.1]), torch.tensor([0.1, -0.7])),
    ),
]
