"""Further ways to break a model, each with the law that sees it: draws, densities, gradients and state."""

from dataclasses import replace
from math import log

import pytest
import torch
from helpers.verdicts import composed, held, loud
from torch.distributions import Distribution, kl_divergence, register_kl

from unveil.distributions import DiagonalGaussian, IndependentBernoulli
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Standard
from unveil.verify import verify


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.nats.matrix_rate", lambda: 1e10, raising=False)


@pytest.fixture
def vae(tiny):
    data, model, objective = composed("vae", tiny)
    return data, loud(model), objective


def with_posterior(model, kind):
    """The model with its Gaussian posteriors turned into `kind`."""

    class Changed(Gaussian):
        def forward(self, parameters):
            right = super().forward(parameters)
            return kind(right.loc, right.log_scale)

    return VAE(model.prior, Net(model.posterior.network, Changed(3)), model.likelihood)


class WrongKl(DiagonalGaussian):
    """A Gaussian whose closed form forgets a half."""


@register_kl(WrongKl, DiagonalGaussian)
def _wrong(q, p):
    return 2 * kl_divergence(DiagonalGaussian(q.loc, q.log_scale), p)


class WrongDensity(DiagonalGaussian):
    """log q without its scale."""

    def log_prob(self, value):
        return super().log_prob(value) + self.log_scale.sum(-1)


class WrongDraw(DiagonalGaussian):
    """Draws that are wider than they say."""

    def rsample(self, sample_shape=()):
        return self.loc + 1.3 * (super().rsample(sample_shape) - self.loc)


class Stuck(DiagonalGaussian):
    """One draw, as often as asked."""

    def rsample(self, sample_shape=()):
        return super().rsample(()).expand(*sample_shape, *self.loc.shape)


class Loose(DiagonalGaussian):
    """Its constant twin is another distribution."""

    def detach(self):
        return DiagonalGaussian(self.loc.detach(), self.log_scale.detach() + 0.3)


class Cut(DiagonalGaussian):
    """A draw that carries the gradient of its mean alone."""

    def rsample(self, sample_shape=()):
        z = super().rsample(sample_shape)
        return self.loc + (z - self.loc).detach()


@pytest.mark.parametrize(
    ("law", "kind"),
    [
        ("kl", WrongKl),
        ("kl", WrongDensity),
        ("posterior", WrongDensity),
        ("posterior", WrongDraw),
        ("draws", Stuck),
        ("gradient estimators", Loose),
        ("slope", Cut),
    ],
)
def test_a_posterior_that_is_not_what_it_says(law, kind, vae):
    data, model, objective = vae
    wrong = with_posterior(model, kind)
    assert held(law, with_posterior(model, DiagonalGaussian), objective, data).outcome == "passed"
    check = held(law, wrong, objective, data)
    assert check.outcome == "failed", check


class Doubled(IndependentBernoulli):
    def log_prob(self, value):
        return 2 * super().log_prob(value)


class DoubledHead(Bernoulli):
    def forward(self, parameters):
        return Doubled(parameters, self.event_dims)


class Unscaled(Isotropic):
    """A Gaussian whose normaliser does not know its scale, which z tells."""

    def forward(self, parameters):
        class Wrong(DiagonalGaussian):
            def log_prob(self, value):
                return super().log_prob(value) + self._sum(self.log_scale.expand_as(self.loc))

        return Wrong(parameters, 0.3 * parameters, 1)


@pytest.mark.parametrize("law", ["likelihood", "entries of x"])
def test_a_term_that_counts_twice(law, vae):
    data, model, objective = vae
    model.likelihood = Net(model.likelihood.network, DoubledHead(3))
    assert held(law, model, objective, data).outcome == "failed"


def test_a_normaliser_that_is_missing():
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(Mlp((4,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), (4,)), Unscaled()))
    assert held("likelihood", model, Distortion() + Rate()).outcome == "failed"


class Wider(Standard):
    """A prior that draws wider than its density."""

    def forward(self, given=None, context=None, leading=1):
        class Wide(DiagonalGaussian):
            def rsample(self, sample_shape=()):
                return 1.2 * super().rsample(sample_shape)

        return Wide(self.zeros, self.zeros)


def test_a_prior_that_draws_otherwise_than_it_weighs(vae):
    data, model, objective = vae
    wrong = VAE(Wider(3), model.posterior, model.likelihood)
    assert held("prior", wrong, objective, data).outcome == "failed"


class Mean(VAE):
    """Samples that are means."""

    def sample(self, n, context=None, seed=None, mean=False):
        return super().sample(n, context, seed, mean=True)


class Massless(VAE):
    """Draws that each count for all."""

    def draw(self, batch, samples=1, gradient="pathwise"):
        draw = super().draw(batch, samples, gradient)
        return replace(draw, log_mass=torch.zeros_like(draw.log_mass))


class Drifting(VAE):
    """Counts its passes, and decodes a little differently each time."""

    def __init__(self, prior, posterior, likelihood):
        super().__init__(prior, posterior, likelihood)
        self.register_buffer("passes", torch.zeros(()))

    def draw(self, batch, samples=1, gradient="pathwise"):
        self.passes += 1
        return super().draw(batch, samples, gradient)


class Shifted(VAE):
    """A joint density that is not that of its draws."""

    def log_joint(self, batch, z):
        return super().log_joint(batch, z) - log(2)


@pytest.mark.parametrize(
    ("law", "kind"),
    [("samples", Mean), ("draws", Massless), ("state", Drifting), ("draws", Shifted)],
)
def test_a_model_that_is_not_what_it_says(law, kind, vae):
    data, model, objective = vae
    wrong = kind(model.prior, model.posterior, model.likelihood)
    assert held(law, wrong, objective, data).outcome == "failed"


def test_draws_that_each_count_for_all(tiny):
    data, model, objective = composed("vae", tiny)  # whose weights are even enough for a mean
    wrong = Massless(model.prior, model.posterior, model.likelihood)
    assert held("order of the bounds", wrong, objective, data).outcome == "failed"


class Broken(VAE):
    def sample(self, n, context=None, seed=None, mean=False):
        raise RuntimeError("nobody is at home\nand more")


def test_what_raises_is_reported_and_ends_nothing(vae):
    data, model, objective = vae
    verdict = verify(Broken(model.prior, model.posterior, model.likelihood), objective, data)
    names = {check.name for check in verdict.failed}
    assert {"draws", "samples", "saved form"} <= names
    assert "it raised RuntimeError: nobody is at home" in verdict.check("samples").reason
    assert verdict.check("kl").outcome == "passed"
    assert len(verdict.advice()) == len(verdict.failed)
    assert isinstance(model.prior(), Distribution)
