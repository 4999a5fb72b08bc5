"""The rate taken apart, the moments of the aggregate posterior, and the discrepancy between it and the prior."""

from itertools import combinations
from math import exp, log, sqrt

import pytest
import torch
from cases.basics import named
from torch.distributions import Independent, Laplace, MultivariateNormal

from unveil.data import Batch
from unveil.distributions import Delta, DiagonalGaussian
from unveil.errors import SettingError
from unveil.models import Draw
from unveil.objectives import (
    DimensionRate,
    DipI,
    DipII,
    Distortion,
    InverseMultiquadratic,
    MinibatchWeights,
    Mmd,
    MutualInformation,
    Rbf,
    StratifiedWeights,
    Sum,
    TotalCorrelation,
)
from unveil.objectives.mmd import of_prior
from unveil.training.config import Training
from unveil.training.loop import fit

NOW = torch.tensor(0.0)


def drawn(posterior, z, prior=None, rows=None):
    """A draw of z (K, B, *latent) from a posterior, without x."""
    k, b = z.shape[:2]
    prior = prior or DiagonalGaussian(torch.zeros(z.shape[2:]).double(), torch.zeros(()).double(), z.dim() - 2)
    mass = torch.full((k, b), -log(k), dtype=z.dtype)
    densities = lambda: ((posterior.log_prob(z),), (prior.log_prob(z),))  # noqa: E731
    batch = Batch(torch.zeros(b, 1), torch.arange(b), rows or b)
    return Draw(batch, (z,), torch.zeros(k, b), mass, densities, lambda: (), prior, posterior, prior)


def gaussians(n, d, seed=0, **like):
    torch.manual_seed(seed)
    return DiagonalGaussian(torch.randn(n, d).double(), 0.5 * torch.randn(n, d).double() - 0.5, **like)


def of(posterior, rows):
    """Some rows of a posterior."""
    return DiagonalGaussian(posterior.loc[rows], posterior.log_scale[rows], posterior.event_dims)


# The three parts of the rate


@pytest.mark.parametrize("weights", [None, MinibatchWeights()])
@pytest.mark.parametrize(("k", "event"), [(1, (4,)), (3, (4,)), (2, (2, 1, 3))])
def test_the_three_parts_of_each_example_s_rate_add_up_to_it(weights, k, event):
    torch.manual_seed(0)
    posterior = DiagonalGaussian(torch.randn(7, *event).double(), torch.randn(7, *event).double(), len(event))
    draw = drawn(posterior, posterior.rsample((k,)), rows=50)
    parts = [term(weights)(draw, None, NOW) for term in (MutualInformation, TotalCorrelation, DimensionRate)]
    assert all(part.shape == (7,) for part in parts)
    rate = draw.mean(draw.log_q[0] - draw.log_p[0])
    assert torch.allclose(sum(parts), rate, atol=1e-10)
    assert all(part.abs().max() > 0.1 for part in parts)  # or the identity would say little


def estimates(posterior, weights, term, density, size):
    """For each example, `density(value)` of a term averaged over all minibatches of `size` that contain it."""
    n = len(posterior.loc)
    torch.manual_seed(1)
    z = posterior.sample((2,))
    total, count = torch.zeros(2, n).double(), torch.zeros(n)
    for rows in combinations(range(n), size):
        rows = list(rows)
        for k in range(2):
            draw = drawn(of(posterior, rows), z[k : k + 1, rows], rows=n)
            total[k, rows] += density(draw, term(weights)(draw, None, NOW))
        count[rows] += 1
    return z, total / count


def exact(posterior, z):
    """(K, n) the aggregate posterior over the whole data set at z (K, n, D)."""
    return posterior.log_prob(z.unsqueeze(2)).exp().mean(-1)


@pytest.mark.parametrize("size", [2, 3, 5, 6])
@pytest.mark.parametrize(
    ("term", "d", "density"),
    [
        (MutualInformation, 3, lambda draw, value: (draw.log_q[0][0] - value).exp()),
        (DimensionRate, 1, lambda draw, value: (draw.log_p[0][0] + value).exp()),
    ],
)
def test_stratified_weights_are_unbiased_over_all_minibatches_that_contain_the_example(size, term, d, density):
    posterior = gaussians(6, d)
    z, mean = estimates(posterior, StratifiedWeights(), term, density, size)
    assert torch.allclose(mean, exact(posterior, z), rtol=1e-10)
    _, biased = estimates(posterior, MinibatchWeights(), term, density, size)
    assert not torch.allclose(biased, exact(posterior, z), rtol=0.1)


def test_the_example_s_own_posterior_stands_on_the_diagonal():
    """Posteriors so narrow that only its own weighs at an example's z: q(z) is then q(z|x) / N, to the last digit."""
    posterior = DiagonalGaussian(10.0 * torch.arange(5).double().unsqueeze(-1), torch.zeros(()).double())
    draw = drawn(posterior, posterior.sample((1,)), rows=40)
    own = draw.log_q[0][0] - MutualInformation()(draw, None, NOW)
    assert torch.allclose(own, draw.log_q[0][0] - log(40))
    assert torch.allclose(MutualInformation(MinibatchWeights())(draw, None, NOW), torch.tensor(log(200)).double())


def test_minibatch_weights_are_those_of_the_source():
    posterior = gaussians(5, 2)
    draw = drawn(posterior, posterior.sample((1,)), rows=30)
    by_hand = posterior.log_prob(draw.z[0].unsqueeze(2))[0].exp().sum(-1) / (30 * 5)
    found = draw.log_q[0][0] - MutualInformation(MinibatchWeights())(draw, None, NOW)
    assert torch.allclose(found, by_hand.log())


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_parts_approach_their_closed_forms(rho):
    """x ~ N(0, C), q(z|x) = N(a x, 1 - a^2): q(z) = N(0, 1 + a^2 (C - 1)), whose total correlation is -log(1 - r^2) / 2."""
    torch.manual_seed(0)
    n, a = 1000, 0.9
    x = MultivariateNormal(torch.zeros(2).double(), torch.tensor([[1, rho], [rho, 1]]).double()).sample((n,))
    posterior = DiagonalGaussian(a * x, torch.tensor(0.5 * log(1 - a**2)).double())
    draw = drawn(posterior, posterior.sample((1,)))
    correlation = -0.5 * log(1 - (a * a * rho) ** 2)
    expected = {MutualInformation: -log(1 - a**2) - correlation, TotalCorrelation: correlation, DimensionRate: 0.0}
    for term, value in expected.items():
        found = term()(draw, None, NOW)
        # the data set is one of n points, whose aggregate differs from the Gaussian by O(1 / n): 0.01 at this n
        assert abs(found.mean() - value) < 4 * found.std() / n**0.5 + 0.01, term


def test_a_lone_example_stands_for_the_whole():
    posterior = gaussians(1, 3)
    draw = drawn(posterior, posterior.sample((1,)), rows=400)
    assert MutualInformation()(draw, None, NOW) == 0
    assert abs(TotalCorrelation()(draw, None, NOW)) < 1e-12
    assert Mmd()(draw, None, NOW) == 0
    assert DipI()(draw, None, NOW).isfinite()


# Moments


def test_dip_by_hand():
    loc = torch.tensor([[1.0, 2.0], [3.0, -1.0], [5.0, 2.0]]).double()
    posterior = DiagonalGaussian(loc, torch.tensor([[0.5, 1.0], [1.0, 2.0], [0.5, 3.0]]).double().log())
    draw = drawn(posterior, posterior.sample((1,)))
    # means (3, 1): sums of squares 8 and 6, of products -2 * 1 + 0 * -2 + 2 * 1 = 0, over n - 1 = 2
    assert torch.allclose(DipI(7.0, 0.5)(draw, None, NOW), torch.full((3,), 0.5 * (3.0**2 + 2.0**2)).double())
    # beside E[variance] = (1.5, 14) / 3
    second = 0.5 * ((4 + 0.5 - 1) ** 2 + (3 + 14 / 3 - 1) ** 2)
    assert torch.allclose(DipII(7.0, 0.5)(draw, None, NOW), torch.full((3,), second).double())
    posterior.loc[0, 1] = 5.0  # products now -2 * 3 + 0 * -3 + 2 * 0 = -6 around means (3, 2): covariance -3, twice
    assert torch.allclose(DipI(7.0, 0.0)(draw, None, NOW), torch.full((3,), 7.0 * 2 * 9).double())
    assert torch.allclose(DipII(7.0, 0.0)(draw, None, NOW), torch.full((3,), 7.0 * 2 * 9).double())


def test_dip_ii_is_of_the_covariance_of_z():
    torch.manual_seed(0)
    posterior = gaussians(40_000, 2)
    covariance = DipII().covariance(drawn(posterior, posterior.sample((1,))), posterior)
    z = posterior.sample()
    products = (z - z.mean(0)).unsqueeze(-1) * (z - z.mean(0)).unsqueeze(-2)
    assert ((products.mean(0) - covariance).abs() < 4.5 * products.std(0) / 200).all()


# The maximum mean discrepancy


def between(scale, variance, mean):
    """E k(x, y) in one dimension, x - y ~ N(mean, variance): k = exp(-(x - y)^2 / (2 scale^2))."""
    total = scale**2 + variance
    return scale / sqrt(total) * exp(-(mean**2) / (2 * total))


class Kept(Draw):
    """A draw whose K minibatches are not averaged."""

    def mean(self, values):
        return values


def statistics(term, posterior, k, prior=None):
    """(K,) the values of a term over K minibatches."""
    draw = drawn(posterior, posterior.sample((k,)), prior)
    return term(Kept(**vars(draw)), None, NOW).mean(-1)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.7, 0.5), (0.05, 1.1)])
@pytest.mark.parametrize("b", [2, 8])
def test_mmd_is_unbiased(mean, scale, b):
    """Over 20,000 minibatches: zero in the mean where all samples come from one distribution, else the closed form."""
    torch.manual_seed(0)
    posterior = DiagonalGaussian(torch.full((b, 1), mean).double(), torch.tensor(log(scale)).double())
    found = statistics(Mmd(Rbf((0.6, 1.5))), posterior, 20_000)
    closed = [between(s, 2 * scale**2, 0) + between(s, 2, 0) - 2 * between(s, scale**2 + 1, mean) for s in (0.6, 1.5)]
    assert found.min() < 0
    assert abs(found.mean() - sum(closed) / 2) < 4 * found.std() / 20_000**0.5
    assert mean or abs(sum(closed)) < 1e-12


@pytest.mark.parametrize("kernel", [None, Rbf()])
def test_mmd_s_mean_is_zero_for_the_prior_alone(kernel):
    torch.manual_seed(0)
    prior = DiagonalGaussian(torch.zeros(3, 2).double(), torch.zeros(()).double(), 2)
    same = statistics(Mmd(kernel), prior.expand((6,)), 5000, prior)
    assert abs(same.mean()) < 4 * same.std() / 5000**0.5
    other = DiagonalGaussian(prior.loc + 0.5, prior.log_scale, 2)
    assert statistics(Mmd(kernel), other.expand((6,)), 5000, prior).mean() > 20 * same.std() / 5000**0.5


def test_mmd_by_hand():
    """Two points against two of a prior that can only be one place: half of the pairs of each kind are known."""
    z = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]).double()
    prior = Delta(torch.tensor([0.0, 2.0]).double())
    found = Mmd(InverseMultiquadratic((0.5, 2.0)))(drawn(Delta(z[0]), z, prior), None, NOW)

    def k(squares):
        ratio = squares / 4  # two dimensions, twice
        return (1 / (1 + ratio / 0.25) + 1 / (1 + ratio / 4)) / 2

    # each example: the other one, plus the prior's pair at distance 0, minus both cross means
    assert torch.allclose(found.mean(), torch.tensor(k(4) + 1 - k(4) - k(8)).double())


def test_mmd_teaches_a_prior_that_can_be_taught():
    mean = torch.zeros(2, requires_grad=True)
    z = torch.randn(1, 50, 2) + 1
    draw = drawn(Delta(z[0]), z, DiagonalGaussian(mean, torch.zeros(())))
    Mmd()(draw, None, NOW).mean().backward()
    assert (mean.grad < 0).all()
    conditional = DiagonalGaussian(torch.zeros(50, 2), torch.zeros(()))
    assert of_prior(conditional, z).shape == of_prior(DiagonalGaussian(mean, mean), z).shape == z.shape


# What cannot be


def test_what_a_term_needs_is_said_when_it_is_missing():
    z = torch.randn(1, 4, 2)
    full = drawn(MultivariateNormal(z[0], torch.eye(2)), z)
    for term in (TotalCorrelation(), DimensionRate(), DipII()):
        with pytest.raises(SettingError, match=r"needs a posterior of independent dimensions.*take"):
            term(full, None, NOW)
    assert MutualInformation()(full, None, NOW).shape == DipI()(full, None, NOW).shape == (4,)
    standard = Independent(Laplace(torch.zeros(2), 1.0), 1)
    with pytest.raises(SettingError, match=r"needs a prior of independent dimensions.*take Standard"):
        DimensionRate()(drawn(DiagonalGaussian(z[0], torch.zeros(())), z, standard), None, NOW)
    layers = Draw(**{**vars(full), "posterior": None, "prior": None, "z": (z, z)})
    for term in (MutualInformation(), TotalCorrelation(), DimensionRate(), DipI(), Mmd()):
        with pytest.raises(SettingError, match="needs one layer of z, and this model has 2"):
            term(layers, None, NOW)
    with pytest.raises(SettingError, match="infinite"):
        MutualInformation()(drawn(Delta(z[0]), z), None, NOW)
    for make in (lambda: Rbf(()), lambda: InverseMultiquadratic((1.0, 0.0)), lambda: DipI(-1.0)):
        with pytest.raises(SettingError, match="give"):
            make()


# Recipes


@pytest.mark.parametrize("name", ["beta-tc-vae", "dip-vae", "wae-mmd", "info-vae"])
def test_recipes_train(name, tiny):
    torch.manual_seed(0)
    model, objective = named(name, kl_warmup=0.5)(tiny)
    outcome = fit(model, objective, tiny, Training(epochs=2, batch_size=40), "float32")
    assert outcome.finished
    assert outcome.best_value is not None
    assert abs(outcome.best_value) < 1000


def test_beta_tc_at_beta_1_is_the_elbo(tiny):
    torch.manual_seed(0)
    model, objective = named("beta-tc-vae", beta=1.0, kl_warmup=0.0)(tiny)
    draw = model.draw(next(tiny.train.batches(9, 0)))
    assert torch.allclose(objective(draw, model, NOW), draw.distortion + draw.rate)
    whole = Sum([Distortion(), MutualInformation(), 6 * TotalCorrelation(), DimensionRate()])(draw, model, NOW)
    sampled = draw.distortion + draw.log_q[0][0] - draw.log_p[0][0] + 5 * TotalCorrelation()(draw, model, NOW)
    assert torch.allclose(whole, sampled, rtol=1e-4)
