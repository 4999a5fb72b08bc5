"""A model far from the truth, and what a term says of its draws."""

import torch

from unveil.data import Batch
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import MODEL
from unveil.parts import Gaussian, Isotropic, Net, Standard

T = torch.tensor(0.0)


def rough(seed=0, samples=1, gradient="pathwise", n=8):
    """A model far from the truth, and draws from it."""
    torch.manual_seed(seed)
    model = VAE(Standard(2), Net(Mlp((3,), (4,), (4,)), Gaussian(2)), Net(Mlp((2,), (4,), (3,)), Isotropic()))
    batch = Batch(torch.randn(n, 3), torch.arange(n), n)
    return model, model.draw(batch, samples, gradient)


def value(term, draw, model, t=T):
    loss = term(draw, model, t)
    return loss if isinstance(loss, torch.Tensor) else loss[MODEL]
