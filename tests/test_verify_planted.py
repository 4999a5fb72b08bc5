"""The mistakes that stand in widely used libraries, planted one by one, and the check that sees each: models and terms."""

import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from helpers.runs import normed
from helpers.verdicts import composed, held, loud
from torch import nn
from torch.nn import functional as F

import unveil.evaluation
from unveil.data import Binarise, Split, from_arrays
from unveil.distributions import DiagonalGaussian, IndependentBernoulli, Mixture
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Commitment, Distortion, Iwae, Rate, TotalCorrelation
from unveil.part import Part
from unveil.parts import Bernoulli, CrossEntropy, Gaussian, Net, Standard, Vamp
from unveil.verify import verify

E = (1, 6, 5)


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.nats.matrix_rate", lambda: 1e10, raising=False)


@pytest.fixture
def vae(tiny):
    """Data, model and objective of a small VAE whose weights are large enough to matter."""
    data, model, objective = composed("vae", tiny)
    return data, loud(model), objective


def caught(check):
    assert check.outcome == "failed", check


# the estimate


@pytest.mark.parametrize("mistake", ["one draw, whatever K", "the sign of a likelihood", "ten times the draws"])
def test_an_estimate_that_ignores_k_or_has_the_wrong_sign(mistake, vae, monkeypatch):
    data, model, objective = vae

    def wrong(model, split, *, samples=500, **settings):
        count = {"one draw, whatever K": 1, "ten times the draws": 10 * samples}.get(mistake, samples)
        found = evaluate(model, split, samples=count, **settings)
        sign = -1 if mistake == "the sign of a likelihood" else 1
        return replace(found, nll=replace(found.nll, value=sign * found.nll.value))

    assert held("estimate", model, objective, data).outcome == "passed"
    monkeypatch.setattr(unveil.evaluation, "evaluate", wrong)
    caught(held("estimate", model, objective, data))


class Surrogate(Iwae):
    """sum(w log w), whose gradient is the bound's."""

    def forward(self, draw, model, t):
        log_w = draw.log_w + draw.log_mass
        return -(log_w.softmax(0).detach() * draw.log_w).sum(0)


@pytest.mark.parametrize("samples", [2, 5])
def test_a_surrogate_that_is_reported_as_the_bound(samples, vae):
    data, model, _ = vae
    assert held("bound", model, Iwae(samples), data).outcome == "passed"
    caught(held("bound", model, Surrogate(samples), data))


# terms


class ColumnCorrelation(TotalCorrelation):
    """The weights of Chen et al. as their code and its copies write them: a stride of B instead of B + 1."""

    def aggregate(self, draw, log_q):
        size, rows = log_q.shape[1], draw.batch.size
        m = size - 1
        strat = (rows - m) / (rows * m)
        weights = torch.full((size, size), 1 / m)
        weights.view(-1)[:: m + 1] = 1 / rows
        weights.view(-1)[1 :: m + 1] = strat
        weights[m - 1, 0] = strat
        return torch.logsumexp(log_q + weights.log().view(size, size, *[1] * (log_q.dim() - 3)), 2)


@pytest.mark.parametrize("law", ["place in the batch", "aggregate"])
def test_weights_of_the_total_correlation_that_fill_a_column(law, vae):
    data, model, _ = vae
    right, wrong = (Distortion() + Rate() + 5 * kind() for kind in (TotalCorrelation, ColumnCorrelation))
    assert held(law, model, right, data).outcome == "passed"
    caught(held(law, model, wrong, data))


class MeanDistortion(Distortion):
    """Reconstruction as a mean over pixels."""

    def forward(self, draw, model, t):
        return draw.distortion / draw.batch.x[0].numel()


class MeanOfSquares(Distortion):
    """The same, by hand."""

    def forward(self, draw, model, t):
        return draw.mean((draw.batch.x - draw.output.mean).square().flatten(2).mean(-1))


@pytest.mark.parametrize("kind", [MeanDistortion, MeanOfSquares])
def test_a_reconstruction_that_a_term_averages_over_pixels(kind, vae):
    data, model, _ = vae
    caught(held("scale", model, kind() + Rate(), data))


class Averaged(IndependentBernoulli):
    def log_prob(self, value):
        return super().log_prob(value) / self.event_shape.numel()


class MeanBernoulli(Bernoulli):
    def forward(self, parameters):
        return Averaged(parameters, self.event_dims)


class MeanCrossEntropy(MeanBernoulli, CrossEntropy):
    """Of gray values."""


@pytest.mark.parametrize("law", ["likelihood", "entries of x"])
@pytest.mark.parametrize(("right", "wrong"), [(Bernoulli, MeanBernoulli), (CrossEntropy, MeanCrossEntropy)])
def test_a_reconstruction_that_the_likelihood_averages_over_pixels(law, right, wrong, vae, tiny):
    _, model, objective = vae
    if right is CrossEntropy:
        tiny = from_arrays(tiny.train.values, measure="unit")
    for head, outcome in ((right, "passed"), (wrong, "failed")):
        model.likelihood = Net(model.likelihood.network, head(3))
        assert held(law, model, objective, tiny).outcome == outcome


class SummedCommitment(Commitment):
    """Summed over the batch, beside a distortion for each example."""

    def forward(self, draw, model, t):
        return super().forward(draw, model, t).sum().expand(len(draw.batch.x))


class CoupledCommitment(SummedCommitment):
    couples = True


@pytest.mark.parametrize(("law", "kind"), [("cutting the batch", SummedCommitment), ("scale", CoupledCommitment)])
def test_a_commitment_that_is_summed_over_the_batch(law, kind, tiny):
    data, model, objective = composed("vq-vae", tiny, codes=8, dimensions=2, width=8, layers=1)
    assert held(law, model, objective, data).outcome == "passed"
    caught(held(law, model, Distortion() + Rate() + kind(0.25), data))


# what is drawn


class Noisy(VAE):
    """`encode` that gives a draw."""

    def encode(self, x, context=None):
        posterior = super().encode(x, context)
        return DiagonalGaussian(posterior.rsample(), posterior.log_scale)


def test_an_encoding_with_fresh_noise(vae):
    data, model, objective = vae
    assert held("rest", model, objective, data).outcome == "passed"
    caught(held("rest", Noisy(model.prior, model.posterior, model.likelihood), objective, data))


class FirstFew(Mixture):
    """Sampling from the first n components."""

    def sample(self, sample_shape=()):
        shape = torch.Size(sample_shape)
        every = self.components.sample()
        return every[torch.arange(shape.numel()) % len(every)].reshape(*shape, *self.event_shape)


class FirstVamp(Vamp):
    def forward(self, given=None, context=None, leading=1):
        right = super().forward(given, context, leading)
        return FirstFew(right.log_weights, right.components)


@pytest.mark.parametrize("law", ["prior", "samples"])
def test_the_first_pseudo_inputs_in_every_sample(law, vae):
    data, model, objective = vae
    loud(model.likelihood)
    with torch.no_grad():  # narrow components, which differ
        model.posterior.network.network.last.bias[3:] -= 6.0
    for kind, outcome in ((Vamp, "passed"), (FirstVamp, "failed")):
        torch.manual_seed(0)
        prior = kind(model.posterior, 60, E)
        prior.start(data.train)
        check = held(law, VAE(prior, model.posterior, model.likelihood), objective, data)
        assert check.outcome == outcome, check.reason


class Fitted(Part):
    """A prior that is fitted afterwards and keeps what it found where nobody saves it."""

    def __init__(self, latent):
        super().__init__()
        self.latent = latent
        self.mean = torch.zeros(latent)

    def fit(self, z):
        self.mean = z.mean(0)
        return self

    def forward(self, given=None, context=None, leading=1):
        return DiagonalGaussian(self.mean, torch.zeros(self.latent))


class Kept(Fitted):
    def __init__(self, latent):
        super().__init__(latent)
        del self.mean
        self.register_buffer("mean", torch.zeros(latent))


@pytest.mark.parametrize(("kind", "outcome"), [(Kept, "passed"), (Fitted, "failed")])
def test_a_fitted_prior_that_is_not_saved(kind, outcome, vae):
    data, model, objective = vae
    prior = kind(3).fit(torch.full((5, 3), 2.0))
    assert held("saved form", VAE(prior, model.posterior, model.likelihood), objective, data).outcome == outcome


# evaluation


class Restless(nn.Module):
    """Batch normalisation that never rests."""

    def __init__(self):
        super().__init__()
        self.network = Mlp(E, (8,), (4,))

    def forward(self, x):
        return self.network(F.batch_norm(x, None, None, training=True))


def test_batch_norm_that_stays_in_training_mode(tiny, monkeypatch):
    model, objective = normed(), Distortion() + Rate()
    assert verify(model, objective, tiny).holds
    own = VAE(Standard(2), Net(Restless(), Gaussian(2)), model.likelihood)
    caught(held("rest", own, objective, tiny))
    caught(held("cutting the batch", own, objective, tiny))
    home = sys.modules["unveil.evaluation.bound"]  # whose name in the package is that of its function
    monkeypatch.setattr(home, "resting", contextmanager(lambda *modules: (yield)))
    caught(held("rest", model, objective, tiny))


class Thresholded(Binarise):
    """Black and white, cut at a half."""

    def __call__(self, values, generator=None):
        return (values.float() > self.levels / 2).float()


class Cut(Thresholded):
    """The same, and it says so of its mean."""

    def mean(self, values):
        return self(values)


class Still(Binarise):
    """One binarisation for all time."""

    def __call__(self, values, generator=None):
        return super().__call__(values, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [Thresholded, Cut, Still])
def test_gray_that_is_thresholded_or_drawn_once(kind, vae):
    data, model, objective = vae
    assert held("reading", model, objective, data).outcome == "passed"
    wrong = replace(data, train=replace(data.train, reading=kind(255)))
    caught(held("reading", model, objective, wrong))


def test_gray_that_is_thresholded_in_evaluation(vae, monkeypatch):
    data, model, objective = vae
    monkeypatch.setattr(Split, "fixed", lambda split, seed: (split.reading.mean(split.values) > 0.5).float())
    caught(held("reading", model, objective, data))
