"""Bidirectional annealing: chains that go back, the sandwich that both ways make, and the mistakes it catches."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from helpers.annealed import off_model, repeated
from helpers.curved import near
from test_exact import Affine, model_of
from torch import nn

from unveil.data import LinearGaussian
from unveil.errors import SettingError
from unveil.evaluation import Figure, in_evaluation
from unveil.evaluation.likelihood.annealing import reverse, schedule
from unveil.evaluation.likelihood.bidirectional import bidirectional, simulate
from unveil.evaluation.likelihood.moves import from_posterior, from_prior, move, pilot
from unveil.models import VAE
from unveil.parts import Conditioned, Gaussian, Isotropic, Net
from unveil.randomness import reseed

pytestmark = pytest.mark.usefixtures("seeded")
STARTS = [from_prior, from_posterior]


def moved_too_late(path, betas, made, state):
    """A wrong order: the weight comes back from t to t - 1, and the chain is moved under t."""
    log_w = 0
    for t in range(len(betas) - 1, 0, -1):
        log_w = log_w + (betas[t] - betas[t - 1]) * state.log_ratio
        if t < len(betas) - 1:
            state, _ = move(path, state, betas[t], made.steps(t - 1), made.leapfrogs)
    return log_w


def moved_too_early(path, betas, made, state):
    """Another: the chain is moved under t - 1 before its weight comes back from t."""
    log_w = 0
    for t in range(len(betas) - 1, 0, -1):
        if t > 1:
            state, _ = move(path, state, betas[t - 1], made.steps(t - 2), made.leapfrogs)
        log_w = log_w + (betas[t] - betas[t - 1]) * state.log_ratio
    return log_w


def in_order(path, betas, made, state):
    return reverse(path, betas, made, state).log_w


def excess(way, start, temperatures=20, chains=60, times=50):
    """log w of chains that begin at exact draws of p(z|x), minus log p(x), (chains * times,)."""
    truth = LinearGaussian.draw(4, 3)
    batch, exact = repeated(truth, times)
    betas = schedule(temperatures)
    path = start(off_model(truth), batch)
    z = truth.posterior(batch.x).sample((chains,)).float()
    with torch.no_grad():
        made = pilot(path, betas[1:-1], leapfrogs=3)
        return (way(path, betas, made, path.at(z)) - exact).flatten()


@pytest.mark.parametrize("start", STARTS)
def test_the_inverse_of_the_weight_that_comes_back_is_unbiased_and_the_weight_an_upper_bound(start):
    error = excess(in_order, start)
    assert near((-error).exp(), 1.0)
    assert (-error).exp().std() < 4  # or the identity would say little
    assert error.mean() > 4 * error.std() / len(error) ** 0.5


@pytest.mark.parametrize("way", [moved_too_late, moved_too_early])
def test_in_the_wrong_order_it_is_not(way):
    assert not near((-excess(way, from_prior)).exp(), 1.0)


def test_simulated_data_come_with_an_exact_draw_from_their_posterior():
    truth = LinearGaussian.draw(5, 3)
    model = model_of(truth)
    with torch.no_grad():
        z, x = simulate(model, 4_000, None)
    posterior = truth.posterior(x)
    white = torch.linalg.solve_triangular(posterior.scale_tril, (z - posterior.mean).unsqueeze(-1), upper=False)[..., 0]
    assert near(white, 0.0)
    assert near(white.square(), 1.0)
    marginal = torch.linalg.solve_triangular(truth.marginal.scale_tril, (x - truth.bias).double().T, upper=False).T
    assert near(marginal, 0.0)
    assert near(marginal.square(), 1.0)


def own_data(model, n, seed=0, context=None):
    """The x that `bidirectional` simulates."""
    with torch.no_grad(), in_evaluation(model):
        reseed(seed, "bidirectional data")
        return simulate(model, n, context)[1]


@pytest.mark.parametrize("start", STARTS)
def test_the_truth_lies_between_and_the_gap_closes(start):
    truth = LinearGaussian.draw(12, 8)
    model = off_model(truth)
    exact = truth.log_likelihood(own_data(model, 40))
    gaps = []
    for temperatures in (10, 150):
        found = bidirectional(model, n=40, start=start, temperatures=temperatures, leapfrogs=2, chains=8)
        gaps.append(found.gap.value)
        # paired with the truth of each x, the spread of a difference is at most that of the gap
        error = found.gap.stderr
        assert found.lower.value < float(exact.mean()) + 4 * error
        assert found.upper.value > float(exact.mean()) - 4 * error
        assert found.gap.value == pytest.approx(found.upper.value - found.lower.value)
    assert gaps[0] > 4 * gaps[1]
    assert gaps[1] < 0.4
    assert found.advice() == []


def test_a_conditional_model_is_annealed_given_what_its_data_were_made_with():
    truth = LinearGaussian.draw(5, 2)
    shifts = 3 * torch.randn(3, 2)

    class Shifted(nn.Module):
        def forward(self, context):
            return torch.cat([context @ shifts, torch.zeros(len(context), 2)], 1)

    class Blind(Affine):
        def forward(self, z, context):
            return super().forward(z)

    likelihood = Net(Blind(truth), Isotropic(scale=truth.scale, learned=False))
    model = VAE(Conditioned(Shifted(), Gaussian(2)), Net(nn.Identity(), Gaussian(2)), likelihood)
    context = torch.eye(3)[torch.arange(30) % 3]
    x = own_data(model, 30, context=context)
    exact = truth.log_likelihood(x - context @ shifts @ truth.weight.T)
    found = bidirectional(model, n=30, context=context, temperatures=60, leapfrogs=4)
    assert abs(found.lower.value - float(exact.mean())) < 4 * found.lower.estimator
    assert found.gap.value < 0.2
    one = bidirectional(model, n=5, context=context[0], temperatures=10, leapfrogs=3)
    assert one.gap.n == 5


def test_the_record_is_plain_data_and_a_function_of_the_seed():
    model = model_of(LinearGaussian.draw(12, 8))
    settings = {"n": 6, "temperatures": 4, "leapfrogs": 2, "chains": 4}
    before = torch.get_rng_state()
    once, again, other = (bidirectional(model, seed=seed, **settings) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert once.gap == again.gap != other.gap
    json.dumps(asdict(once), allow_nan=False)
    assert once.table()[2][0].strip() == "gap"
    assert [value for _, value in once.table()[:2]] == [str(once.upper.negative()), str(once.lower.negative())]
    crossed = replace(once, gap=Figure(-0.05, 0.06, 4))
    assert "the wrong way round" in " ".join(crossed.advice())
    assert any("nats only" in line for line in once.advice())
    with pytest.raises(SettingError, match="at least 1"):
        bidirectional(model, n=0)


def test_blocks_change_nothing_but_the_noise(monkeypatch):
    model = model_of(LinearGaussian.draw(8, 2))
    settings = {"n": 9, "temperatures": 30, "leapfrogs": 3, "chains": 8}
    whole = bidirectional(model, **settings)
    monkeypatch.setattr("unveil.evaluation.likelihood.annealing.ROWS", 24)
    cut = bidirectional(model, **settings)
    assert abs(cut.lower.value - whole.lower.value) < 4 * 2**0.5 * whole.lower.estimator
    assert cut.upper.value == pytest.approx(whole.upper.value, abs=0.5)
