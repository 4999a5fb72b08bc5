"""Critics come to say what they should, and what is asked of them is computed as by hand."""

from math import log, pi

import pytest
import torch
from cases.basics import E, small
from helpers.adversarial import NOW, critic
from torch import nn
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

from unveil.data import Batch, from_arrays
from unveil.distributions import Delta, DiagonalGaussian
from unveil.errors import SettingError
from unveil.models import Draw
from unveil.networks import Mlp
from unveil.objectives import (
    MODEL,
    AdversarialPrior,
    AdversarialSamples,
    Critic,
    DensityRatioCorrelation,
    FeatureDistortion,
)
from unveil.objectives.adversarial import seen, shuffled, told_apart
from unveil.parts import CrossEntropy, Net


def drawn(posterior, z):
    """A draw of z (K, B, D) under a standard prior, without x."""
    k, b = z.shape[:2]
    prior = DiagonalGaussian(torch.zeros(z.shape[2:], dtype=z.dtype), torch.zeros((), dtype=z.dtype))
    mass = torch.full((k, b), -log(k), dtype=z.dtype)
    batch = Batch(torch.zeros(b, 1), torch.arange(b), b)
    return Draw(batch, (z,), torch.zeros(k, b), mass, lambda: ((), ()), lambda: (), prior, posterior, prior)


class Quadratic(nn.Module):
    """Log-odds that are quadratic in z, which those between Gaussians are."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size + size * size, 1)

    def forward(self, z):
        return self.linear(torch.cat([z, (z.unsqueeze(-1) * z.unsqueeze(-2)).flatten(1)], -1))


def settled(term, draw):
    """The model's values once the critic has found its optimum for the draw: a convex problem."""
    optimiser = torch.optim.LBFGS(term.critic.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        torch.manual_seed(1)
        optimiser.zero_grad()
        loss = term(draw, None, NOW)[term.PLAYER].mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.manual_seed(1)
    return term(draw, None, NOW)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_best_critic_says_the_total_correlation(rho):
    torch.manual_seed(0)
    n = 20_000
    covariance = torch.tensor([[1.0, rho * 2], [rho * 2, 4.0]])
    z = MultivariateNormal(torch.tensor([1.0, -1.0]), covariance).sample((1, n))
    found = settled(DensityRatioCorrelation(Quadratic(2)), drawn(Delta(z[0]), z))[MODEL]
    exact = -0.5 * log(1 - rho**2)
    assert found.shape == (n,)
    assert abs(found.mean() - exact) < 4 * found.std() / n**0.5 + 1e-3  # the fitted critic's own error is O(1 / n)


def test_the_best_critic_knows_the_log_ratio_between_prior_and_posterior():
    torch.manual_seed(0)
    n, mean, scale = 40_000, 0.8, 0.6
    q = DiagonalGaussian(torch.full((n, 1), mean), torch.tensor(log(scale)))
    draw = drawn(q, q.sample((1,)))
    term = AdversarialPrior(Quadratic(1))
    settled(term, draw)
    at = torch.tensor([[-0.5], [0.3], [1.0], [1.8]])
    exact = draw.prior.log_prob(at) - DiagonalGaussian(torch.tensor([mean]), torch.tensor(log(scale))).log_prob(at)
    assert ((term.critic(at)[:, 0] - exact).abs() < 0.1).all()  # the fit's standard error here is about 0.02
    same = drawn(draw.prior, draw.prior.sample((1, n)))
    even = settled(term, same)
    for value in even.values():
        assert abs(value.mean() - log(2)) < 1e-3


def test_a_shuffle_keeps_each_dimension_and_nothing_between_them():
    torch.manual_seed(0)
    z = torch.randn(2, 5000, 1).expand(2, 5000, 3) * torch.tensor([1.0, 2.0, -1.0])
    apart = shuffled(z)
    assert torch.equal(apart.sort(1).values, z.sort(1).values)
    correlation = torch.corrcoef(apart[0].T) - torch.eye(3)
    assert correlation.abs().max() < 4.5 / 5000**0.5
    assert not torch.equal(apart[0], apart[1])


def test_losses_of_a_critic_are_cross_entropies_and_stay_finite_when_it_is_sure():
    torch.manual_seed(0)
    first, second = torch.randn(50).double(), torch.randn(50).double()
    ones, zeros = torch.ones(50).double(), torch.zeros(50).double()
    both = F.binary_cross_entropy_with_logits(first, ones) + F.binary_cross_entropy_with_logits(second, zeros)
    assert torch.allclose(told_apart(first, second).mean(), both / 2)
    sure = torch.tensor([-1e4, 1e4], requires_grad=True)
    told_apart(sure, sure).sum().backward()
    assert sure.grad.isfinite().all()
    assert torch.allclose(sure.grad, torch.tensor([-0.5, 0.5]))  # where it is surely wrong it still learns


def gray(tiny):
    """A model of gray images, four of them, and a critic."""
    torch.manual_seed(0)
    data = from_arrays(tiny.train.values, measure="unit")
    model = small(likelihood=Net(Mlp((3,), (8,), E), CrossEntropy(3)))
    return model, next(data.train.batches(4, 0)), Critic(Mlp(E, (8,), (5,)), 5)


def test_the_distortion_of_features_by_hand(tiny):
    model, batch, judge = gray(tiny)
    draw = model.draw(batch, samples=2)
    layer_norm = nn.LayerNorm(5, elementwise_affine=False)
    given = torch.stack([layer_norm(judge.network(mean)) for mean in draw.output.mean])
    wanted = layer_norm(judge.network(batch.x))
    by_hand = 0.5 * (given - wanted).square().sum(-1).mean(0) + 2.5 * log(2 * pi)
    assert torch.allclose(FeatureDistortion(judge)(draw, model, NOW), by_hand, rtol=1e-5)


def test_the_losses_over_samples_by_hand(tiny):
    model, batch, judge = gray(tiny)
    draw = model.draw(batch)
    torch.manual_seed(1)
    found = AdversarialSamples(judge)(draw, model, NOW)
    torch.manual_seed(1)
    prior = draw.prior.sample((4,))
    z = torch.stack([prior[0], draw.z[0][0, 1], prior[2], draw.z[0][0, 3]])
    said, ones = judge(model.decode(z).mean)[:, 0], torch.ones(4)
    cross = F.binary_cross_entropy_with_logits
    assert torch.allclose(found[MODEL], cross(said, ones, reduction="none"), rtol=1e-5)
    judged = cross(said, 0 * ones, reduction="none") + cross(judge(batch.x)[:, 0], ones, reduction="none")
    assert torch.allclose(found["sample critic"], judged / 2, rtol=1e-5)


def test_a_critic_sees_binary_pictures_where_data_are_binary_and_the_mean_carries_the_gradient(tiny):
    model, batch = small(), next(tiny.train.batches(4, 0))
    output = model.draw(batch).output
    picture = seen(model, output)
    assert set(picture.unique().tolist()) <= {0.0, 1.0}
    weights = torch.randn_like(picture)
    parameters = list(model.likelihood.parameters())
    mine, means = (torch.autograd.grad((weights * x).sum(), parameters, retain_graph=True) for x in (picture, output.mean))
    assert all(torch.allclose(a, b) for a, b in zip(mine, means, strict=True))


def test_critics_that_cannot_judge_are_refused(tiny):
    model = small()
    draw = model.draw(next(tiny.train.batches(4, 0)))
    for term in (AdversarialPrior, DensityRatioCorrelation):
        with pytest.raises(SettingError, match=r"says one number for each sample, and this one says \(2,\)"):
            term(Mlp((3,), (4,), (2,)))(draw, model, NOW)
        with pytest.raises(SettingError, match="needs one layer of z"):
            term(critic())(Draw(**{**vars(draw), "posterior": None}), model, NOW)
