"""Annealed importance sampling: weights that average to p(x), and what the record says of them."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from helpers.annealed import judge_nothing, off_model, repeated, split_of
from helpers.curved import near
from test_exact import Affine, model_of
from torch import nn

from unveil.data import LinearGaussian
from unveil.errors import SettingError
from unveil.evaluation import evaluate
from unveil.evaluation.likelihood import annealing, moves
from unveil.evaluation.likelihood.annealed import annealed
from unveil.evaluation.likelihood.annealing import average, forward, schedule
from unveil.evaluation.likelihood.moves import from_posterior, from_prior, pilot
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import (
    Bernoulli,
    Conditioned,
    CrossEntropy,
    Gaussian,
    Isotropic,
    MixtureOfGaussians,
    Net,
    Point,
    Standard,
    TwoStage,
    UniformOneHot,
)

pytestmark = pytest.mark.usefixtures("seeded")
STARTS = [from_prior, from_posterior]
SHORT = {"temperatures": 20, "leapfrogs": 3, "chains": 8}


def estimates(start, temperatures=12, chains=2, groups=40, times=50, spoil=lambda: None):
    """log p(x) by short annealing minus the truth, (groups * times,), and its stated variance; the pilot goes unspoiled."""
    truth = LinearGaussian.draw(4, 3)
    batch, exact = repeated(truth, times)
    betas = schedule(temperatures)
    path = start(off_model(truth), batch)
    with torch.no_grad():
        made = pilot(path, betas[1:-1], leapfrogs=3)
        spoil()
        log_w = forward(path, betas, made, chains * groups).log_w
    log_p, noise, _ = average(log_w.unflatten(0, (chains, groups)).flatten(1))
    return log_p - exact, noise


@pytest.mark.parametrize("start", STARTS)
def test_exp_of_the_estimate_is_unbiased_and_the_estimate_a_lower_bound(start):
    error, _ = estimates(start)
    assert near(error.exp(), 1.0)
    assert error.exp().std() < 2  # or the identity would say little
    assert error.mean() < -4 * error.std() / len(error) ** 0.5


def test_without_acceptance_it_is_biased(monkeypatch):
    error, _ = estimates(from_prior, spoil=lambda: judge_nothing(monkeypatch))
    assert not near(error.exp(), 1.0)


def test_more_temperatures_bring_it_closer():
    means = [estimates(from_prior, temperatures)[0].mean() for temperatures in (3, 10, 40)]
    assert means == sorted(means)


def test_the_stated_error_is_how_far_estimates_differ():
    error, noise = estimates(from_prior, temperatures=40, chains=16, groups=6)
    assert float(noise.mean().sqrt()) == pytest.approx(float(error.std()), rel=0.2)


def test_the_error_of_a_mean_weight_is_that_of_the_delta_method():
    log_w = torch.randn(7, 5).double() - 1_000
    log_mean, noise, ess = average(log_w)
    w = (log_w + 1_000).exp()
    assert torch.allclose(log_mean + 1_000, w.mean(0).log())
    assert torch.allclose(noise, w.var(0) / 7 / w.mean(0) ** 2)
    assert torch.allclose(ess, w.sum(0) ** 2 / w.square().sum(0))
    assert average(log_w[:1])[1].isnan().all()


def test_it_closes_the_gap_that_a_poor_encoder_leaves():
    truth = LinearGaussian.draw(20, 16)
    x = truth.sample(5)
    exact = -float(truth.log_likelihood(x).mean())
    model = off_model(truth, shift=4.0, width=0.4)
    weighed = evaluate(model, split_of(x), samples=2_000)
    found = annealed(model, split_of(x), temperatures=400, leapfrogs=2)
    assert weighed.nll.value > exact + 5
    assert abs(found.nll.value - exact) < 4 * found.nll.estimator
    assert found.nll.estimator < 0.2
    assert found.advice() == []


def test_where_the_encoder_is_good_all_estimates_agree(digits):
    torch.manual_seed(3)
    likelihood = Net(Mlp((2,), (16,), (1, 8, 8)), Bernoulli(3))
    for weight in likelihood.parameters():
        nn.init.normal_(weight, std=0.5)
    model = VAE(MixtureOfGaussians(2, 3), Net(Mlp((1, 8, 8), (), (4,)), Gaussian(2)), likelihood)
    split = digits.test.sample(5, 0)
    weighed = evaluate(model, split, samples=5_000)
    for start in STARTS:
        found = annealed(model, split, start=start, temperatures=60, leapfrogs=3)
        assert found.fingerprint == weighed.fingerprint
        assert abs(found.nll.value - weighed.nll.value) < 4 * found.nll.estimator + 0.02


def test_a_model_that_is_given_something_is_measured_given_it():
    truth = LinearGaussian.draw(5, 2)
    shifts = torch.randn(3, 2)

    class Shifted(nn.Module):
        def forward(self, context):
            return torch.cat([context @ shifts, torch.zeros(len(context), 2)], 1)

    class Blind(Affine):
        def forward(self, z, context):
            return super().forward(z) + context.sum(-1, keepdim=True)

    likelihood = Net(Blind(truth), Isotropic(scale=truth.scale, learned=False))
    model = VAE(Conditioned(Shifted(), Gaussian(2)), Net(nn.Identity(), Gaussian(2)), likelihood)
    context = torch.eye(3)[torch.arange(9) % 3]
    x = truth.sample(9)
    exact = -truth.log_likelihood(x - context @ shifts @ truth.weight.T - 1)
    found = annealed(model, replace(split_of(x), context=context), temperatures=60, leapfrogs=4)
    assert abs(found.nll.value - exact.mean()) < 4 * found.nll.estimator
    log_p = torch.tensor([image.log_p for image in found.images])
    assert ((log_p + exact).abs() < 6 * torch.tensor([image.stderr for image in found.images])).all()


def test_chains_come_in_blocks_and_blocks_change_nothing_but_the_noise(monkeypatch):
    truth = LinearGaussian.draw(8, 2)
    split, model, sizes = split_of(truth.sample(10)), model_of(truth), []
    at = moves.Path.at
    monkeypatch.setattr(moves.Path, "at", lambda path, z: sizes.append(z.shape[:2].numel()) or at(path, z))
    whole = annealed(model, split, **SHORT)
    assert max(sizes) == 80
    sizes.clear()
    monkeypatch.setattr(annealing, "ROWS", 40)
    cut = annealed(model, split, **SHORT)
    assert max(sizes) == 40
    assert abs(cut.nll.value - whole.nll.value) < 4 * 2**0.5 * whole.nll.estimator
    assert [image.row for image in cut.images] == list(range(10))


def test_it_is_a_function_of_the_seed_and_leaves_everything_as_it_was():
    truth = LinearGaussian.draw(8, 2)
    model, split = model_of(truth).train(), split_of(truth.sample(10))
    before, weights = torch.get_rng_state(), [weight.clone() for weight in model.parameters()]
    once, again, other = (annealed(model, split, images=6, seed=seed, **SHORT) for seed in (0, 0, 1))
    assert once.images == again.images
    assert {image.row for image in once.images} != {image.row for image in other.images}
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(torch.equal(*both) for both in zip(weights, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())


def test_the_record_says_what_it_is_and_what_is_wrong_with_it():
    truth = LinearGaussian.draw(20, 8)
    model, split = model_of(truth), split_of(truth.sample(6))
    hasty = annealed(model, split, temperatures=4, leapfrogs=2, chains=4)
    json.dumps(asdict(hasty), allow_nan=False)
    assert (hasty.how.temperatures, hasty.how.chains, hasty.how.start, hasty.nll.n) == (4, 4, "p(z)", 6)
    assert hasty.table()[0][0] == "-log p(x), annealed"
    assert any("single chain" in line for line in hasty.advice())
    lame = replace(hasty, how=replace(hasty.how, lowest=0.1))
    assert any("10% of the moves" in line for line in lame.advice())
    alone = annealed(model, split, temperatures=4, leapfrogs=2, chains=1)
    json.dumps(asdict(alone), allow_nan=False)
    assert alone.nll.estimator is None
    assert "one chain" in alone.advice()[-1]


def test_an_autoencoder_has_a_likelihood_by_annealing_from_the_prior():
    truth = LinearGaussian.draw(8, 2)
    x = truth.sample(6)
    model = model_of(truth)
    model.posterior = Net(Mlp((8,), (), (2,)), Point(2))
    found = annealed(model, split_of(x), temperatures=60, leapfrogs=4)
    assert abs(found.nll.value + float(truth.log_likelihood(x).mean())) < 4 * found.nll.estimator
    with pytest.raises(SettingError, match="begin at the prior"):
        annealed(model, split_of(x), start=from_posterior, **SHORT)


def test_what_cannot_be_is_said():
    truth = LinearGaussian.draw(8, 2)
    model, split = model_of(truth), split_of(truth.sample(4))
    for wrong, words in (
        ({"chains": 0}, "0 chains"),
        ({"leapfrogs": 0}, "0 leapfrog"),
        ({"temperatures": 1}, "at least 2"),
    ):
        with pytest.raises(SettingError, match=words):
            annealed(model, split, **{**SHORT, **wrong})
    gray = VAE(Standard(2), Net(Mlp((8,), (), (4,)), Gaussian(2)), Net(Mlp((2,), (), (8,)), CrossEntropy(1)))
    with pytest.raises(SettingError, match="no likelihood"):
        annealed(gray, split, **SHORT)
    model.prior = TwoStage(model_of(LinearGaussian.draw(2, 1)))
    with pytest.raises(SettingError, match="bound alone"):
        annealed(model, split, **SHORT)
    model.prior = UniformOneHot(2, 3)
    with pytest.raises(SettingError, match="counted"):
        annealed(model, split, **SHORT)


def test_a_likelihood_without_gradient_or_without_value_is_named():
    truth = LinearGaussian.draw(8, 2)
    split = split_of(truth.sample(4))

    class Deaf(Affine):
        def forward(self, z):
            return super().forward(z.detach())

    class Broken(Affine):
        def forward(self, z):
            return super().forward(z) * torch.nan

    for kind, words in ((Deaf, "no gradient"), (Broken, "no finite number")):
        model = model_of(truth)
        model.likelihood = Net(kind(truth), Isotropic(scale=truth.scale, learned=False))
        with pytest.raises(SettingError, match=words):
            annealed(model, split, **SHORT)
