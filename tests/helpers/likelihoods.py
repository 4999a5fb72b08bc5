"""Likelihoods of levels, and draws under any likelihood."""

import torch

from unveil.data import Batch
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import BetaBinomial, DiscretisedLogistic, Gaussian, Levels, LogisticMixture, Net, Standard

D = 7
LEVELS = [DiscretisedLogistic(17, 1), LogisticMixture(3, 17, 1), Levels(17, 1), BetaBinomial(17, 1)]


def draw_of(head, x):
    """The draw of a VAE with this likelihood, of x (B, 4)."""
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(Mlp((4,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), head.needs((4,))), head))
    return model, model.draw(Batch(x, torch.arange(len(x)), len(x)), 3)
