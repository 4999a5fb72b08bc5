"""One-hot variables against torch's own, and a relaxed gradient that is as biased as it is said to be."""

import pytest
import torch
from torch import nn

from unveil.distributions import DiagonalGaussian, GumbelOneHot
from unveil.models import divergence
from unveil.parts import OneHot

pytestmark = pytest.mark.usefixtures("seeded")


def test_one_hot_agrees_with_torch():
    logits = torch.randn(5, 3, 4)
    ours, theirs = GumbelOneHot(logits, 0.7), torch.distributions.OneHotCategorical(logits=logits)
    z = ours.sample((2,))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(ours.log_prob(z), theirs.log_prob(z).sum(-1))
    assert torch.allclose(ours.entropy(), theirs.entropy().sum(-1))
    relaxed = ours.rsample((2000,))
    assert torch.equal(relaxed.sum(-1), torch.ones(2000, 5, 3))  # exactly one-hot, though it carries gradient
    error = (relaxed.mean(0) - ours.mean) / (ours.stddev / 2000**0.5)
    assert error.abs().max() < 4.5


def test_the_relaxed_draw_is_that_of_torch():
    logits = torch.randn(5, 3, 4, requires_grad=True)
    table, results = torch.randn(3, 4), []
    for draw in (
        lambda: GumbelOneHot(logits, 0.6).rsample(),
        lambda: nn.functional.gumbel_softmax(logits.log_softmax(-1), 0.6, hard=True),
    ):
        torch.manual_seed(1)
        z = draw()
        results.append((z.detach(), torch.autograd.grad(((z * table).sum((-2, -1)) ** 2).sum(), logits)[0]))
    assert torch.allclose(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], atol=1e-6)


def test_the_relaxed_gradient_is_biased_and_by_this_much():
    """The straight-through gradient of E[f(z)] beside the exact one: hot is more wrong, cold is less so and wilder."""
    logits, table = torch.tensor([[0.5, -0.3, 0.1]], requires_grad=True), torch.tensor([1.0, -2.0, 0.5])
    # f(z) = (z table)^2 is not linear in z, so a relaxation has something to be wrong about
    (truth,) = torch.autograd.grad((logits.softmax(-1) * table**2).sum(), logits)
    found, n = {}, 40_000
    for heat in (2.0, 0.5, 0.1):
        q = GumbelOneHot(logits.expand(n, 1, 3), heat)
        gradient = torch.autograd.grad(((q.rsample() * table).sum((-2, -1)) ** 2).sum(), q.log_mass)[0]
        # by the chain rule through log-softmax, draw by draw
        gradient = gradient - gradient.sum(-1, keepdim=True) * logits.softmax(-1).detach()
        error = gradient.mean(0) - truth
        found[heat] = (error.norm() / truth.norm(), (error.abs() / (gradient.std(0) / n**0.5)).max(), gradient.std())
        print(f"temperature {heat}: bias {found[heat][0]:.0%} of the gradient, {found[heat][1]:.0f} standard errors")
    assert min(found[2.0][1], found[0.5][1]) > 8  # a bias, and no noise
    assert found[2.0][2] < found[0.5][2] < found[0.1][2]


def test_the_temperature_falls_in_prepare_alone_and_stops():
    head = OneHot(2, 3, temperature=1.0, lowest=0.5, anneal=0.1)
    seen = []
    for t in (0.0, 3.0, 100.0):
        head.prepare(None, t)
        seen.append(float(head(torch.zeros(1, 6)).temperature))
    assert seen == pytest.approx([1.0, 0.7408182, 0.5])


def test_one_hot_rate_against_another_prior_is_the_closed_form():
    q, p = GumbelOneHot(torch.randn(2, 3, 4)), GumbelOneHot(torch.randn(3, 4))
    reference = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=q.log_mass), torch.distributions.Categorical(logits=p.log_mass)
    ).sum(-1)
    assert torch.allclose(divergence(q, p), reference, atol=1e-6)
    assert divergence(q, DiagonalGaussian(torch.zeros(3), torch.zeros(3))) is None
