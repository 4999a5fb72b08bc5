"""Samples: a few at a time, at rest, and of the same z for the same seed."""

import torch
from helpers.runs import Normed
from torch import nn

from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import Bernoulli, Gaussian, Net, Standard
from unveil.recipes import recipe


def test_many_samples_are_decoded_a_few_at_a_time(tiny, monkeypatch):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    monkeypatch.setattr("unveil.models.vae.CHUNK", 10)
    seen = []
    model.likelihood.network.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    assert model.sample(25, seed=0).shape == (25, 1, 6, 5)
    assert seen == [10, 10, 5]


def test_means_and_samples_of_a_seed_are_those_of_the_same_z(tiny, monkeypatch):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    monkeypatch.setattr("unveil.models.vae.CHUNK", 10)
    seen = []
    model.likelihood.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    model.sample(25, seed=3)
    model.sample(25, seed=3, mean=True)
    assert torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))


def test_samples_are_drawn_at_rest(tiny):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.drop = Mlp((2,), (8,), (1, 6, 5)), nn.Dropout(0.5)

        def forward(self, z):
            return self.drop(self.network(z))

    model = VAE(Standard(2), Net(Normed(), Gaussian(2)), Net(Dropping(), Bernoulli(3))).train()
    assert torch.equal(model.sample(4, seed=0, mean=True), model.sample(4, seed=0, mean=True))
    x = model.sample(1, seed=0, mean=True)
    model.likelihood.network.drop = nn.Identity()
    assert torch.equal(model.sample(1, seed=0, mean=True), x)
    assert model.training
