"""A model whose encoder sits on the lower of the two peaks of p(z|x), and sees nothing of the other."""

from math import exp, log, pi

import torch

from unveil.data import Split
from unveil.data.reading import Plain
from unveil.models import VAE
from unveil.part import Part
from unveil.parts import Gaussian, Isotropic, Net, Standard

SIGMA, LOWER = 0.02, 0.9


class Step(Part):
    """E[x|z]: 1 where z is below zero, LOWER above."""

    def forward(self, z, context=None):
        return torch.where(z < 0, 1.0, LOWER)


class Above(Part):
    """The numbers of q(z|x) = N(1.5, 0.3^2) for every x: one draw in three million falls on the other side."""

    def __init__(self):
        super().__init__()
        self.numbers = torch.nn.Parameter(torch.tensor([1.5, 2 * log(0.3)]))

    def forward(self, x, context=None):
        return self.numbers.expand(len(x), 2)


def two_sided():
    return VAE(Standard(1), Net(Above(), Gaussian(1)), Net(Step(), Isotropic(scale=SIGMA, learned=False)))


def ones(n):
    """x = 1, at the top of the higher peak."""
    return Split("test", torch.ones(n, 1), None, torch.arange(n), Plain())


def exact():
    """log p(x) of x = 1: either side has half of the prior."""
    lower = -0.5 * ((1 - LOWER) / SIGMA) ** 2
    return log(0.5 + 0.5 * exp(lower)) - log(SIGMA) - 0.5 * log(2 * pi)
