"""Likelihoods of real numbers and of the unit interval, against quadrature, torch, and SciPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.likelihoods import draw_of
from scipy import stats

from unveil.distributions import TiltedUniform
from unveil.parts import Laplace, OptimalSigma, StudentT

L = torch.tensor([-50.0, -3.0, -0.51, -0.5, -0.49, -1e-3, -1e-9, 0.0, 1e-6, 1e-2, 0.3, 0.4999, 0.5001, 1.0, 8.0, 200.0])


def test_the_continuous_bernoulli_integrates_to_one_with_mean_and_variance_as_stated():
    x, weights = np.polynomial.legendre.leggauss(400)
    x, weights = torch.from_numpy(x).add(1).div(2).view(-1, 1), torch.from_numpy(weights).div(2).view(-1, 1)
    made = TiltedUniform(L.double())
    p = made.log_prob(x).exp() * weights
    mean = (p * x).sum(0)
    assert torch.allclose(p.sum(0), torch.ones_like(mean), atol=1e-9)
    assert torch.allclose(made.mean, mean, atol=1e-9)
    assert torch.allclose(made.variance, (p * (x - mean).square()).sum(0), atol=1e-9)


def test_the_continuous_bernoulli_is_the_one_of_the_paper_in_float32_too():
    x = torch.linspace(0, 1, 11).view(-1, 1)
    single, double = TiltedUniform(L), TiltedUniform(L.double())
    far = L.abs() > 0.2  # nearer to the uniform density torch's own takes a series of two terms
    paper = torch.distributions.ContinuousBernoulli(logits=L[far].double(), validate_args=False)
    keep = L[far].abs() < 30  # beyond, it clamps the probabilities
    theirs = paper.log_prob(x.double())[:, keep]
    assert torch.allclose(double.log_prob(x.double())[:, far][:, keep], theirs, atol=1e-6)
    assert torch.allclose(single.log_prob(x).double(), double.log_prob(x.double()), rtol=1e-6, atol=1e-6)
    assert torch.allclose(single.mean.double(), double.mean, atol=2e-7)
    assert torch.allclose(single.variance.double(), double.variance, atol=2e-6)


def test_the_continuous_bernoulli_of_logit_0_is_uniform_and_has_a_gradient():
    logits = torch.zeros(3, requires_grad=True)
    x = torch.tensor([0.0, 0.3, 1.0])
    log_p = TiltedUniform(logits).log_prob(x)
    assert torch.equal(log_p, torch.zeros(3))
    (gradient,) = torch.autograd.grad(log_p.sum(), logits)
    assert torch.allclose(gradient, x - 0.5)
    # of the second order as well, and where one value meets many logits
    given = torch.tensor([-2.0, 0.1, 0.0], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([[0.2], [0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda logits, x: TiltedUniform(logits).log_prob(x), (given, value))


def test_laplace_and_student_are_scipys():
    torch.manual_seed(0)
    raw, x = torch.randn(9), torch.randn(4, 3) * 5
    scale = np.exp(6 * np.tanh(raw[3:6].double().numpy() / 6))
    exact = stats.laplace.logpdf(x, raw[:3], scale).sum(1)
    assert np.abs(Laplace()(raw[:6]).log_prob(x).numpy() - exact).max() < 1e-4
    degrees = 2 + np.exp(3 * np.tanh(raw[6:].double().numpy() / 3))
    exact = stats.t.logpdf(x, degrees, raw[:3], scale).sum(1)
    assert np.abs(StudentT()(raw).log_prob(x).numpy() - exact).max() < 1e-4


def test_optimal_sigma_is_the_error_of_the_last_steps_and_its_gradient_that_of_the_log_error():
    x = 3 * torch.randn(50, 4)
    head = OptimalSigma()
    model, draw = draw_of(head, x)
    head.update(draw)
    error = (x - draw.output.mean).square()
    assert torch.allclose(head.variance, error.mean())
    # with sigma a constant at its best value, the gradient is that of D / 2 log of the error, in the mean over examples
    weights = list(model.likelihood.network.parameters())
    fitted = torch.autograd.grad(-head(draw.output.mean).log_prob(x).mean(), weights, retain_graph=True)
    profiled = torch.autograd.grad(4 / 2 * error.mean().log(), weights)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(fitted, profiled, strict=True))
    assert fitted[0].abs().max() > 1e-3
    for _ in range(200):
        head.update(replace(draw, output=head(draw.output.mean.detach() + 1)))
    assert torch.allclose(head.variance, (x - draw.output.mean - 1).square().mean(), rtol=1e-3)


def test_optimal_sigma_is_a_normalised_density_whatever_x_is_judged():
    """Under a sigma taken from the very x that is judged, p(x) of one number is c / |x|, which has no integral."""
    head = OptimalSigma()
    head.variance.fill_(0.25)
    x = torch.linspace(-20, 20, 40_001).view(-1, 1)
    assert head(torch.zeros(1)).log_prob(x).exp().sum().item() * 1e-3 == pytest.approx(1, abs=1e-4)
    assert head.normalised
