"""Where the truth is known in closed form: linear-Gaussian data under the true prior and likelihood."""

from math import log, pi

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from unveil.data import Batch, LinearGaussian, Split
from unveil.data.reading import Plain
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.objectives import Distortion, Iwae, Rate
from unveil.part import Part
from unveil.parts import Isotropic, Net, Standard


class Affine(nn.Module):
    """z to W z + b."""

    def __init__(self, truth):
        super().__init__()
        self.truth = truth

    def forward(self, z):
        return z @ self.truth.weight.T + self.truth.bias


class TruePosterior(Part):
    """p(z|x) with its covariance widened by `width` squared."""

    def __init__(self, truth, width=1.0):
        super().__init__()
        self.truth, self.width = truth, width
        self.calls = []

    def forward(self, given=None, context=None, leading=1):
        exact = self.truth.posterior(given)
        covariance = (self.width**2 * exact.covariance_matrix).float()
        return _Counting(exact.mean.float(), covariance, self.calls)


class FullPrior(Part):
    """N(0, I) as a full Gaussian, for which torch knows the KL of a full Gaussian."""

    def __init__(self, latent):
        super().__init__()
        self.normal = MultivariateNormal(torch.zeros(latent), torch.eye(latent))

    def forward(self, given=None, context=None, leading=1):
        return self.normal


class _Counting(MultivariateNormal):
    """A Gaussian that notes how many values were drawn for each example."""

    def __init__(self, mean, covariance, calls):
        super().__init__(mean, covariance_matrix=covariance, validate_args=False)
        self.calls = calls

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008  the signature of torch's own
        self.calls.append((int(torch.Size(sample_shape).numel()), *self.batch_shape))
        return super().rsample(sample_shape)


def model_of(truth, width=1.0):
    likelihood = Net(Affine(truth), Isotropic(scale=truth.scale, learned=False))
    return VAE(Standard(truth.weight.shape[1]), TruePosterior(truth, width), likelihood)


def batch_of(truth, n, seed=0):
    return Batch(truth.sample(n, seed), torch.arange(n), n)


SIZES = [(3, 1), (8, 2), (20, 16), (80, 64)]


@pytest.mark.parametrize(("size", "latent"), SIZES)
def test_every_weight_is_the_evidence_at_the_exact_posterior(size, latent):
    truth = LinearGaussian.draw(size, latent)
    batch = batch_of(truth, 50)
    draw = model_of(truth).draw(batch, samples=7)
    exact = truth.log_likelihood(batch.x)
    assert torch.allclose(draw.log_w.double(), exact.expand(7, -1), atol=2e-4 * size)


@pytest.mark.parametrize(("size", "latent"), SIZES)
def test_the_bound_meets_the_evidence_at_the_exact_posterior(size, latent):
    truth = LinearGaussian.draw(size, latent)
    batch = batch_of(truth, 20)
    model = model_of(truth)
    model.prior = FullPrior(latent)
    torch.manual_seed(0)
    draw = model.draw(batch, samples=4_000)
    bound = draw.log_px - draw.kl[0]  # one value of the ELBO's integrand for each draw, with the KL in closed form
    exact = truth.log_likelihood(batch.x)
    z = (bound.double().mean(0) - exact) / (bound.double().std(0) / 4_000**0.5)
    assert z.abs().max() < 4.5  # 20 images: a false alarm in 7,000 runs, and the seed is fixed


def test_the_closed_form_posterior_and_marginal_obey_bayes():
    truth = LinearGaussian.draw(5, 3)
    x, z = truth.sample(10).double(), torch.randn(10, 3, dtype=torch.float64)
    noise = x - z @ truth.weight.double().T - truth.bias.double()
    log_px = -0.5 * (noise**2).sum(-1) / truth.scale**2 - 5 * (log(truth.scale) + 0.5 * log(2 * pi))
    log_pz = -0.5 * (z**2).sum(-1) - 1.5 * log(2 * pi)
    assert torch.allclose(log_px + log_pz, truth.posterior(x).log_prob(z) + truth.log_likelihood(x), atol=1e-9)


def test_with_too_wide_a_proposal_the_estimate_is_unbiased_and_its_log_a_bound_that_rises_with_k():
    truth = LinearGaussian.draw(8, 2)
    batch = batch_of(truth, 1)
    exact = truth.log_likelihood(batch.x)
    torch.manual_seed(0)
    log_w = model_of(truth, 1.2).draw(batch, samples=200_000).log_w[:, 0].double()
    ratio = (log_w - exact).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5
    bounds, errors = [], []
    for k in (1, 4, 16, 64):
        estimates = log_w.view(-1, k).logsumexp(1) - log(k) - exact
        bounds.append(float(estimates.mean()))
        errors.append(float(estimates.std() / len(estimates) ** 0.5))
    assert bounds == sorted(bounds)
    # the first is strictly below the truth, by the KL of the wide proposal; none is above it by more than chance
    assert bounds[0] < -10 * errors[0]
    assert all(bound < 4 * error for bound, error in zip(bounds, errors, strict=True))


def test_the_one_sample_bound_falls_short_by_exactly_the_divergence():
    truth = LinearGaussian.draw(8, 2)
    batch = batch_of(truth, 1)
    torch.manual_seed(1)
    gap = truth.log_likelihood(batch.x) - model_of(truth, 1.2).draw(batch, samples=100_000).log_w[:, 0].double()
    divergence = 2 * (0.5 * (1.44 - 1) - log(1.2))  # KL(N(0, 1.2^2) || N(0, 1)) in each of two dimensions
    assert abs(gap.mean() - divergence) < 4 * gap.std() / len(gap) ** 0.5


@pytest.mark.parametrize("samples", [1, 7, 4_500])
def test_evaluate_uses_exactly_the_draws_asked_for_and_meets_the_truth(samples):
    truth = LinearGaussian.draw(8, 2)
    x = truth.sample(6)
    split = Split("test", x, None, torch.arange(6), Plain())
    model = model_of(truth)
    model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    found = evaluate(model, split, samples=samples)
    # the pilot counts operations on one block and times it once more; every image then gets its K draws
    width = max(1, 4_000 // samples)
    chunks = -(-samples // 4_000)
    blocks = -(-6 // width)
    real = model.posterior.calls[2 * chunks :]
    assert sum(count * images for count, images in real) == 6 * samples
    assert len(real) == blocks * chunks
    exact = -truth.log_likelihood(x)
    assert found.nll.value == pytest.approx(float(exact.mean()), abs=1e-4)
    assert found.nll.stderr == pytest.approx(float(exact.std() / 6**0.5), rel=1e-3)
    assert found.ess.value == pytest.approx(samples, rel=1e-3)  # all weights are equal at the exact posterior
    assert found.neg_elbo.value == pytest.approx(found.distortion.value + found.rate.value, abs=1e-6)


@pytest.mark.parametrize(("samples", "rows"), [(50, 4_000), (50, 16), (400, 64)])
def test_evaluate_with_too_wide_a_proposal_is_unbiased_for_the_evidence(samples, rows, monkeypatch):
    # rows below K cut the draws into chunks, the last one short
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", rows)
    truth = LinearGaussian.draw(8, 2)
    x = truth.sample(1).expand(400, 8)  # one example many times: each estimate has noise of its own
    model = model_of(truth, 1.2)
    model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    split = Split("test", x, None, torch.arange(400), Plain())
    found = evaluate(model, split, samples=samples)
    exact = -float(truth.log_likelihood(x[:1]))
    # E[w^2] / E[w]^2 of a Gaussian weight, in each of two dimensions: what limits the effective draws
    spread = (1.2**2 / (2 * 1.2**2 - 1) ** 0.5) ** 2
    bias = (spread - 1) / (2 * samples)  # of the logarithm, to first order
    assert abs(found.nll.value - exact - bias) < 4 * found.nll.stderr + bias / 2
    assert found.nll.stderr == pytest.approx(((spread - 1) / samples / 400) ** 0.5, rel=0.25)
    assert found.ess.value == pytest.approx(samples / spread, rel=0.05)


def test_chunks_change_nothing_but_the_noise(monkeypatch):
    truth = LinearGaussian.draw(8, 2)
    split = Split("test", truth.sample(5), None, torch.arange(5), Plain())
    model = model_of(truth)
    model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    whole = evaluate(model, split, samples=300)
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 64)
    cut = evaluate(model, split, samples=300)
    assert cut.nll.value == pytest.approx(whole.nll.value, abs=1e-4)
    assert cut.ess.value == pytest.approx(300, rel=1e-3)


def test_terms_say_what_the_draw_says():
    truth = LinearGaussian.draw(8, 2)
    model = model_of(truth, 1.2)
    draw = model.draw(batch_of(truth, 9), samples=5)
    t = torch.tensor(0.0)
    assert torch.equal((Distortion() + 4 * Rate())(draw, model, t), draw.distortion + 4 * draw.rate)
    by_hand = -(draw.log_w.exp().mean(0)).log()
    assert torch.allclose(Iwae(5)(draw, model, t), by_hand, atol=1e-4)
    joint = model.log_joint(draw.batch, draw.z[0])
    assert torch.allclose(joint, draw.log_px + draw.log_p[0], atol=1e-5)


def test_a_kl_without_closed_form_is_estimated_from_the_draw():
    class Hidden(Part):
        def forward(self, given=None, context=None, leading=1):
            return torch.distributions.TransformedDistribution(Independent(Normal(torch.zeros(2), 1.0), 1), [])

    truth = LinearGaussian.draw(8, 2)
    model = model_of(truth, 1.2)
    closed = model.draw(batch_of(truth, 1), samples=50_000).kl[0]
    assert closed.max() == closed.min()
    model.prior = Hidden()
    sampled = model.draw(batch_of(truth, 1), samples=50_000).kl[0]
    assert sampled.std() > 0
    assert abs(sampled.mean() - closed.mean()) < 4 * sampled.std() / 50_000**0.5


@pytest.mark.parametrize("posterior", ["independent", "full"])
def test_torchs_gaussians_have_a_closed_form_kl_to_the_standard_prior(posterior):
    torch.manual_seed(0)
    loc, scale = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64) + 0.1
    full = MultivariateNormal(loc, scale_tril=torch.diag_embed(scale))
    q = full if posterior == "full" else Independent(Normal(loc, scale), 1)
    prior = Standard(3).double()()
    exact = kl_divergence(full, MultivariateNormal(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)))
    assert torch.allclose(kl_divergence(q, prior), exact, atol=1e-10)
