"""Posteriors in flat space: Gaussians with a covariance, flows, and the point."""

from math import prod

import torch

from cases.basics import E, named, small
from cases.case import Case, Density
from unveil.distributions import DiagonalGaussian, FullGaussian, LowRankGaussian
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Flowed, Full, Gaussian, InverseAutoregressive, LowRank, Net, Planar, Point, Radial

D = 3


def under(head, objective):
    """The tiny VAE with the posterior's head and the objective made afresh."""

    def compose(data):
        chosen = head()
        return small(posterior=Net(Mlp(E, (8,), (prod(chosen.needs((D,))),)), chosen)), objective()

    return compose


def elbo():
    return Distortion() + Rate()


LAYERS = {
    "planar": lambda: [Planar(D), Planar(D)],
    "radial": lambda: [Radial(D), Radial(D)],
    "iaf": lambda: [InverseAutoregressive(D, (8,), 4, bool(step)) for step in range(2)],
}
CASES = [
    Case("full", under(lambda: Full(D), elbo)),
    Case("full-sticking", under(lambda: Full(D), lambda: Distortion() + Rate("sticking"))),
    Case("full-dreg", under(lambda: Full(D), lambda: Iwae(4, "dreg"))),
    Case("low-rank", under(lambda: LowRank(D, 2), elbo)),
    Case("low-rank-sticking", under(lambda: LowRank(D, 2), lambda: Distortion() + Rate("sticking"))),
    Case("low-rank-dreg", under(lambda: LowRank(D, 2), lambda: Iwae(4, "dreg"))),
    Case("point", under(lambda: Point(D), Distortion)),
    *(Case(f"flow-{name}", under(lambda make=make: Flowed(Gaussian(D), make()), elbo)) for name, make in LAYERS.items()),
    Case("flow-iwae", under(lambda: Flowed(Full(D), [Planar(D), Radial(D)]), lambda: Iwae(4))),
    Case("vae-linear-flow", named("vae-linear-flow")),
    Case("vae-iaf", named("vae-iaf", width=8, context=4)),
    Case("vae-iaf-conv", named("vae-iaf", width=8, context=4, network="conv")),
]


def mixed(kind, factor):
    loc, log_scale = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, -0.5, 0.1])
    return kind(loc.double(), log_scale.double(), torch.tensor(factor).double())


def reference():
    return DiagonalGaussian(torch.tensor([1.2, -2.1, 0.5]).double(), torch.tensor([0.0, -0.9, -0.1]).double())


DENSITIES = [
    Density("full", lambda: mixed(FullGaussian, [[0.0, 0, 0], [0.8, 0, 0], [-0.4, 0.6, 0]]), reference),
    Density("low-rank", lambda: mixed(LowRankGaussian, [[0.5, -0.3], [0.7, 0.1], [-0.2, 0.4]]), reference),
]
