"""Learned priors."""

import torch
from torch.distributions import Independent, Laplace, Normal

from cases.basics import E, named, small
from cases.case import Case, Density
from unveil.distributions import DiagonalGaussian, Mixture
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, NegativeLogPrior, Rate
from unveil.parts import (
    Autoregressive,
    Coupling,
    Exemplar,
    Gaussian,
    Isotropic,
    MixtureOfGaussians,
    Net,
    Spline,
    Standard,
    TwoStage,
    Vamp,
)


def under(make):
    """The plain VAE under a prior that `make` gives for its posterior."""

    def compose(data):
        posterior = Net(Mlp(E, (8,), (6,)), Gaussian(3))
        return small(make(posterior), posterior), Distortion() + Rate()

    return compose


def second(size):
    """A small model of vectors."""
    return VAE(Standard(2), Net(Mlp((size,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), (size,)), Isotropic(1)))


CASES = [
    Case("mixture-prior", under(lambda q: MixtureOfGaussians(3, 5))),
    Case("vamp-prior", under(lambda q: Vamp(q, 4, E))),
    Case("exemplar-prior", under(lambda q: Exemplar(q, 4, E))),
    Case("coupling-prior", under(lambda q: Coupling(3, 3, (8,)))),
    Case("maf-prior", under(lambda q: Autoregressive(3, 2, (8,)))),
    Case("spline-prior", under(lambda q: Spline(3, 2, (8,), 4))),
    Case("one-dimensional-flow-prior", lambda data: (small(Spline(1, 1), latent=1), Distortion() + Rate())),
    Case("two-stage-prior", under(lambda q: TwoStage(second(3)))),
    Case("torch-s-prior", under(lambda q: Independent(Laplace(torch.zeros(3), torch.ones(3)), 1))),
    Case("negative-log-prior", lambda data: (small(), Distortion() + NegativeLogPrior())),
    Case("vamp-recipe", named("vamp", pseudo_inputs=5)),
    Case("exemplar-recipe", named("exemplar", exemplars=5)),
    Case("flow-prior-recipe", named("flow-prior", transforms=2, width=8)),
]


def mixture():
    loc = torch.tensor([[-2.0, 0.0], [1.0, 1.5], [2.0, -1.0]])
    return Mixture(torch.tensor([0.2, 0.5, 0.3]).log(), DiagonalGaussian(loc, torch.tensor([[0.3, -0.5]])))


def flow(kind, **settings):
    """A flow prior with weights that are large enough to bend it."""

    def make():
        torch.manual_seed(3)
        prior = kind(2, 3, (8,), **settings)
        prior.start_at(torch.randn(50, 2) * torch.tensor([2.0, 0.5]) + 1)
        return prior()

    return make


def inside(make, scale):
    """A Gaussian where a distribution has its mass, narrower than it."""

    def reference():
        with torch.no_grad():
            x = make().sample((2000,))
        return Independent(Normal(x.mean(0), scale * x.std(0)), 1)

    return reference


DENSITIES = [
    Density("mixture", mixture, lambda: Independent(Normal(torch.tensor([1.0, 0.5]), torch.tensor([0.8, 0.6])), 1)),
    *(Density(kind.__name__, flow(kind), inside(flow(kind), 0.7)) for kind in (Coupling, Autoregressive, Spline)),
]
