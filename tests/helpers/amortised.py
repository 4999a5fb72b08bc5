"""A linear-Gaussian model whose encoder is known, so that what it loses is a closed form."""

from math import atanh, log

import torch
from torch import nn

from unveil.data import LinearGaussian, Split
from unveil.data.reading import Plain
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import Full, Gaussian, Isotropic, Net, Standard


def correlated():
    """Two dimensions of z that x tells almost the sum of, so that their posterior is correlated by -0.6."""
    weight = torch.tensor([[1.0, 1.0], [0.9, 1.1], [1.0, -0.2], [0.3, 0.4]])
    return LinearGaussian(weight, torch.tensor([0.5, -1.0, 0.0, 2.0]), 0.6)


def split_of(truth, n, seed=0, labels=None):
    return Split("test", truth.sample(n, seed), labels, torch.arange(n), Plain())


def raw(log_scale):
    """What a Gaussian head makes that log-scale of."""
    return 12 * atanh(log_scale / 6)


def linear(weight, bias):
    """A network x to W x + b."""
    network = Mlp((weight.shape[1],), (), (len(weight),))
    with torch.no_grad():
        network.last.weight.copy_(weight)
        network.last.bias.copy_(bias)
    return network


def gain(truth):
    """(D, E) the posterior mean as a linear function of x - b, and the covariance (D, D), both float64."""
    covariance = truth.posterior(truth.bias[None]).covariance_matrix[0]
    return covariance @ truth.weight.double().T / truth.scale**2, covariance


def model_of(truth, shift, scales, full=False):
    """The true model with the encoder q(z|x) = N(posterior mean + shift, diag scales^2), of either family."""
    matrix, _ = gain(truth)
    size = len(shift)
    bias = -matrix @ truth.bias.double() + shift
    rest = torch.tensor([raw(log(float(scale))) for scale in scales] + [0.0] * (size * (size - 1) // 2 if full else 0))
    network = linear(torch.cat([matrix, torch.zeros(len(rest), matrix.shape[1])]), torch.cat([bias, rest]))
    likelihood = Net(linear(truth.weight, truth.bias), Isotropic(scale=truth.scale, learned=False))
    return VAE(Standard(size), Net(network, Full(size) if full else Gaussian(size)), likelihood)


def divergence(truth, shift, scales):
    """KL(N(posterior mean + shift, diag scales^2) || p(z|x)), the same for every x."""
    _, covariance = gain(truth)
    precision = torch.linalg.inv(covariance)
    squares = (precision.diagonal() * scales.square()).sum() + shift @ precision @ shift
    return float(0.5 * (squares - len(shift) - scales.square().log().sum() + torch.logdet(covariance)))


def closest(truth):
    """The scales of the nearest Gaussian of independent dimensions."""
    return torch.linalg.inv(gain(truth)[1]).diagonal().rsqrt()


class Constant(nn.Module):
    """The same output for whatever comes."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x):
        return self.output.expand(len(x), *self.output.shape)
