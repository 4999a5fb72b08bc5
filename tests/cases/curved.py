"""Latent spaces that are not flat."""

import torch
from torch.nn import functional as F

from cases.basics import E, named, small
from cases.case import Case, Density
from unveil.distributions import HyperbolicNormal, SphericalUniform, SphericalVonMisesFisher
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Bernoulli, LogMap, Net, PoincareNormal, UniformSphere, VonMisesFisher, WrappedNormal


def on_sphere(objective):
    """Directions in three dimensions."""
    return lambda data: (small(UniformSphere(3), Net(Mlp(E, (8,), (4,)), VonMisesFisher(3))), objective())


def in_ball(objective, curvature=0.5):
    """Points of a ball of three dimensions."""

    def compose(data):
        posterior = Net(Mlp(E, (8,), (6,)), WrappedNormal(3, curvature))
        likelihood = Net(LogMap(Mlp((3,), (8,), E), curvature), Bernoulli(3))
        return VAE(PoincareNormal(3, 1.0, curvature), posterior, likelihood), objective()

    return compose


def towards(*direction):
    return F.normalize(torch.tensor(direction, dtype=torch.float64), dim=-1)


def fisher(direction, kappa):
    return lambda: SphericalVonMisesFisher(direction, torch.tensor(kappa, dtype=torch.float64))


def wrapped(loc, log_scale, curvature):
    loc, log_scale = (torch.tensor(part, dtype=torch.float64) for part in (loc, log_scale))
    return lambda: HyperbolicNormal(loc, log_scale, curvature)


CASES = [
    Case("sphere", on_sphere(lambda: Distortion() + Rate())),
    Case("sphere-dreg", on_sphere(lambda: Iwae(4, "dreg"))),
    Case("ball", in_ball(lambda: Distortion() + Rate())),
    Case("ball-sticking", in_ball(lambda: Distortion() + Rate("sticking"))),
    Case("svae", named("svae")),
    Case("poincare-vae", named("poincare-vae")),
]
DENSITIES = [
    Density("circle", fisher(towards(1, 2), 2.0), fisher(towards(1, 1), 2.5)),
    Density("fisher", fisher(towards(1, 2, -1, 0.5, 0), 7.0), fisher(towards(1, 2, -1, 0, 0), 9.0)),
    Density("fisher-narrow", fisher(towards(*[1] * 20), 3000.0), fisher(towards(*[1] * 19, 1.05), 3500.0)),
    Density("sphere", lambda: SphericalUniform(torch.zeros(4, dtype=torch.float64)), fisher(towards(1, 0, 0, 2), 1.5)),
    Density("ball", wrapped([0.3, -0.5], [0.0, -0.5], 1.0), wrapped([0.35, -0.45], [-0.2, -0.7], 1.0)),
    Density(
        "ball-rim", wrapped([0.9, 0.8, 1.0], [-0.5, -0.2, 0.0], 0.4), wrapped([0.9, 0.8, 1.0], [-0.7, -0.3, -0.2], 0.4)
    ),
]
