"""Models whose log p(x) is a closed form, and splits of their data."""

import torch
from torch import nn
from torch.distributions import MultivariateNormal

from unveil.data import Split
from unveil.data.reading import Binarise, Plain
from unveil.models import VAE
from unveil.part import Part
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Standard


class Posterior(Part):
    """p(z|x) of a linear-Gaussian truth, its covariance widened by `width` squared."""

    def __init__(self, truth, width):
        super().__init__()
        self.truth, self.width = truth, width

    def forward(self, given=None, context=None, leading=1):
        exact = self.truth.posterior(given)
        covariance = (self.width**2 * exact.covariance_matrix).float()
        return MultivariateNormal(exact.mean.float(), covariance_matrix=covariance, validate_args=False)


class Affine(nn.Module):
    """z to W z + b."""

    def __init__(self, truth):
        super().__init__()
        self.truth = truth

    def forward(self, z):
        return z @ self.truth.weight.T + self.truth.bias


class Constant(nn.Module):
    """Whatever is given to the same numbers."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = nn.Parameter(numbers)

    def forward(self, given):
        return self.numbers.expand(len(given), *self.numbers.shape)


def linear(truth, width=1.0):
    """The true model of linear-Gaussian data."""
    likelihood = Net(Affine(truth), Isotropic(scale=truth.scale, learned=False))
    return VAE(Standard(truth.weight.shape[1]), Posterior(truth, width), likelihood)


def real(x, name="test"):
    return Split(name, x, None, torch.arange(len(x)), Plain())


def pixels(logits, latent=2):
    """Binary images of independent pixels: z is idle, and log p(x) is that of its pixels."""
    posterior = Net(Constant(torch.zeros(2 * latent)), Gaussian(latent))
    return VAE(Standard(latent), posterior, Net(Constant(logits), Bernoulli(3)))


def binary(x, name="test"):
    return Split(name, x.to(torch.uint8), None, torch.arange(len(x)), Binarise(1))
