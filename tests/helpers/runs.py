"""Models, data and settings that make a training short."""

import signal
from dataclasses import replace

import torch
from torch import nn

from unveil.data import from_arrays
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Standard
from unveil.recipes import RECIPES
from unveil.training import Training

SMALL = replace(
    RECIPES["vae"].given(latent=2, hidden=(16,), kl_warmup=1.0),
    training=Training(epochs=4, batch_size=40, checkpoint_every=1),
)
SHORT = {"epochs": 3, "batch_size": 50, "checkpoint_every": 1, "latent": 2}


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.network = Mlp((1, 6, 5), (8,), (4,))

    def forward(self, x):
        return self.network(self.norm(x))


def normed():
    torch.manual_seed(0)
    return VAE(Standard(2), Net(Normed(), Gaussian(2)), Net(Mlp((2,), (8,), (1, 6, 5)), Bernoulli(3)))


def real_data():
    return from_arrays(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), name="noise")


def linear_model():
    torch.manual_seed(0)
    likelihood = Net(Mlp((2,), (), (3,)), Isotropic())
    return VAE(Standard(2), Net(Mlp((3,), (), (4,)), Gaussian(2)), likelihood), Distortion() + Rate()


class Interrupt:
    """Presses Ctrl-C at one step."""

    def __init__(self, step):
        self.at = step

    def begin(self, watched):
        self.steps = watched.steps

    def step(self, step):
        if step == self.at:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, record):
        pass
