"""Small discrete models, summed over all of z."""

from itertools import product

import torch
from torch import nn

from unveil.data import Batch
from unveil.parts import UniformOneHot


def batch(n=4, event=(1, 6, 5)):
    return Batch((torch.rand(n, *event) < 0.5).float(), torch.arange(n), n)


def every(model):
    """All values of a small discrete z, (M, *event)."""
    prior = model.prior
    if isinstance(prior, UniformOneHot):
        index = torch.tensor(list(product(range(prior.classes), repeat=prior.dimensions)))
        return nn.functional.one_hot(index, prior.classes).float()
    places = prior.positions * prior.alphabet.depth
    return prior.alphabet.vectors(torch.tensor(list(product(range(prior.alphabet.codes), repeat=places))))


def exact(model, given):
    """(B,) -ELBO by enumeration of z, and log p(x) likewise."""
    z = every(model)[:, None].expand(-1, len(given.x), -1, -1)
    log_joint, log_q = model.log_joint(given, z), model.encode(given.x).log_prob(z)
    mass = log_q.exp()
    cost = torch.where(mass > 0, mass * (log_q - log_joint), 0.0).sum(0)
    return cost, log_joint.logsumexp(0)
