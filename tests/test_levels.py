"""Likelihoods of levels and of counts: sums to one, frequencies of samples, and SciPy."""

from math import exp, log

import numpy as np
import pytest
import torch
from helpers.likelihoods import LEVELS
from scipy import stats
from scipy.special import gammaln

from unveil.distributions import CountNegativeBinomial, CountPoisson, CutLogistic, LevelBetaBinomial
from unveil.parts import DiscretisedLogistic, LogisticMixture, NegativeBinomial, Poisson


@pytest.mark.parametrize("size", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("head", LEVELS, ids=lambda head: type(head).__name__)
def test_levels_sum_to_one_with_mean_and_variance_as_stated(head, size):
    torch.manual_seed(0)
    made = head(size * torch.randn(300, *head.needs((1,))))
    x = torch.arange(17.0).view(-1, 1, 1)
    p = made.log_prob(x).double().exp()
    assert (p.sum(0) - 1).abs().max() < 2e-5
    mean = (p * x[..., 0]).sum(0)
    assert torch.allclose(made.mean[..., 0].double(), mean, atol=5e-4)
    assert torch.allclose(made.variance[..., 0].double(), (p * (x[..., 0] - mean).square()).sum(0), atol=5e-3)


@pytest.mark.parametrize("head", [*LEVELS, Poisson(), NegativeBinomial()], ids=lambda head: type(head).__name__)
def test_samples_have_the_frequencies_that_the_density_gives(head):
    torch.manual_seed(0)
    made = head(torch.randn(head.needs((1,))))
    n, x = 100_000, torch.arange(17.0).view(-1, 1)
    seen = made.sample((n,))
    p = made.log_prob(x).double().exp()
    share = (seen == x.T).double().mean(0)
    assert ((share - p) / (p * (1 - p) / n).sqrt())[p > 1e-4].abs().max() < 4.5


@pytest.mark.parametrize("head", [Poisson(), NegativeBinomial()], ids=lambda head: type(head).__name__)
def test_counts_sum_to_one(head):
    made = head(torch.tensor([[-3.0, 1.0], [0.5, 0.0], [4.0, 2.0]])[:, : head.count])
    total = made.log_prob(torch.arange(5000.0).view(-1, 1, 1)).double().exp().sum(0)
    assert (total - 1).abs().max() < 2e-5


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact_in_float32_however_large(seed):
    """Differences of log-gammas as they stand are wrong by whole nats here."""
    torch.manual_seed(seed)
    log_mean, log_shape = torch.empty(400).uniform_(-8, 15), torch.empty(400).uniform_(-11, 11)
    x = (torch.empty(60, 1).uniform_(0, 16).exp() - 1).round()
    x[:12] = torch.arange(12.0).view(-1, 1)
    # the parameters are what float32 makes of the exponentials
    m, k, value = (tensor.double().numpy() for tensor in (log_mean.exp(), log_shape.exp(), x))
    exact = gammaln(value + k) - gammaln(k) - gammaln(value + 1) - k * np.log1p(m / k) - value * np.log1p(k / m)
    given = CountNegativeBinomial(log_mean, log_shape).log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 2e-5
    exact = stats.poisson.logpmf(value, m)
    given = CountPoisson(log_mean).log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 2e-5


def test_counts_near_their_mean_lose_no_nats():
    x, log_rate = torch.tensor([9_900.0, 10_000.0, 10_150.0]), torch.tensor(10_000.0).log()
    exact = stats.poisson.logpmf(x, log_rate.exp().item())
    assert np.abs(CountPoisson(log_rate).log_prob(x).double().numpy() - exact).max() < 1e-4


def test_beta_binomial_is_scipys_from_all_or_nothing_to_the_binomial():
    torch.manual_seed(0)
    made = LevelBetaBinomial(torch.empty(200).uniform_(-8, 8), torch.empty(200).uniform_(-9, 9), 256)
    x = torch.arange(256.0).view(-1, 1)
    exact = stats.betabinom.logpmf(x.numpy(), 255, made.alpha.double().numpy(), made.beta.double().numpy())
    given = made.log_prob(x).double().numpy()
    assert (np.abs(given - exact) / (1 + np.abs(exact))).max() < 1e-4


def test_the_discretised_logistic_is_a_difference_of_sigmoids_with_open_ends():
    torch.manual_seed(0)
    head = DiscretisedLogistic(256, 1)
    raw = torch.randn(2).double()
    made = head(raw)
    loc, scale = 127.5 * (raw[0] + 1), 127.5 * (7 * torch.tanh(raw[1] / 7)).exp()
    edges = torch.cat([torch.tensor([-torch.inf]), torch.arange(255) + 0.5, torch.tensor([torch.inf])]).double()
    exact = torch.sigmoid((edges - loc) / scale).diff()
    given = made.log_prob(torch.arange(256.0).view(-1, 1)).double()
    assert torch.allclose(given, exact.log(), atol=1e-4)


def test_levels_far_from_the_mean_still_have_a_log_probability_and_a_gradient():
    """The plain difference of sigmoids is 0 there, and its logarithm minus infinity."""
    loc = torch.tensor([300.0], requires_grad=True)
    log_p = CutLogistic(loc, torch.zeros(1), torch.arange(255.0) + 0.5).log_prob(torch.tensor([100.0]))
    assert abs(log_p.item() - (-199.5 + log(1 - exp(-1)))) < 1e-3
    assert torch.autograd.grad(log_p, loc)[0].item() == pytest.approx(-1.0)


def test_cuts_that_rounding_laid_upon_each_other_have_finite_nats_between_them():
    log_p = CutLogistic(torch.zeros(1), torch.zeros(1), torch.tensor([1.0, 1.0, 2.0])).log_prob(torch.ones(1))
    assert -100 < log_p.item() < -50


def test_samples_are_all_or_nothing_where_the_gamma_variables_underflow():
    torch.manual_seed(0)
    x = LevelBetaBinomial(torch.tensor(0.3).logit(), torch.tensor(-11.0), 256).sample((20_000,))
    assert abs((x == 255).float().mean() - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    assert ((x == 0) | (x == 255)).float().mean() > 0.999


def test_a_mixture_of_logistics_is_the_mixture_of_its_components():
    torch.manual_seed(0)
    raw = torch.randn(5, 3 * 3 * 2, 2, 2)
    x = torch.randint(0, 17, (5, 2, 2, 2)).float()
    logits, loc, log_scale = raw.view(5, 3, 3, 2, 2, 2).unbind(1)
    each = [DiscretisedLogistic(17, 1)(torch.stack([loc[:, i], log_scale[:, i]], -1).flatten(0, -2)) for i in range(3)]
    weighted = [made.log_prob(x.view(-1, 1)) for made in each]
    weights = logits.log_softmax(1).unbind(1)
    exact = torch.stack([w + p.view(5, 2, 2, 2) for w, p in zip(weights, weighted, strict=True)]).logsumexp(0)
    assert torch.allclose(LogisticMixture(3, 17, 3)(raw).log_prob(x), exact.sum((1, 2, 3)), atol=1e-4)
