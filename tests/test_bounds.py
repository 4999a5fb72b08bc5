"""Bounds of several samples against closed forms and each other: their values, their order, and whose gradient is whose."""

from dataclasses import replace
from itertools import pairwise
from math import inf, log

import pytest
import torch
from helpers.objectives import T, rough, value
from test_exact import batch_of, model_of
from torch import nn

from unveil.data import Batch, LinearGaussian
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Ciwae, Iwae, Miwae, Piwae, Renyi
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Standard
from unveil.training import Training
from unveil.training.loop import Trainer
from unveil.training.step import Step


@pytest.mark.parametrize("gradient", ["pathwise", "dreg"])
def test_at_their_ends_the_bounds_are_each_other(gradient):
    model, draw = rough(samples=6, gradient=gradient)
    iwae, elbo = Iwae(6, gradient)(draw, model, T), -draw.log_w.mean(0)
    ends = [
        (iwae, [Miwae(1, 6, gradient), Ciwae(6, 0.0, gradient), Renyi(6, 0.0, gradient), Piwae(2, 3, gradient)]),
        (elbo, [Miwae(6, 1, gradient), Ciwae(6, 1.0, gradient), Renyi(6, 1.0, gradient)]),
    ]
    for exact, terms in ends:
        for term in terms:
            assert torch.allclose(value(term, draw, model), exact, atol=1e-5), term


@pytest.mark.parametrize(
    "end", [Miwae(1, 5, "dreg"), Ciwae(5, 0.0, "dreg"), Renyi(5, 0.0, "dreg")], ids=lambda e: type(e).__name__
)
def test_at_their_ends_their_doubly_reparameterised_gradients_are_those_of_iwae(end):
    found = []
    for term in (end, Iwae(5, "dreg")):
        model, draw = rough(samples=5, gradient="dreg")
        found.append(torch.autograd.grad(term(draw, model, T).mean(), list(model.parameters())))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("term", [Miwae(2, 3, "dreg"), Piwae(2, 3, "dreg"), Ciwae(6, 0.3, "dreg"), Renyi(6, 0.5, "dreg")])
def test_what_is_reported_is_the_bound_and_not_what_its_gradient_is_taken_from(term):
    model, draw = rough(samples=6, gradient="dreg")
    log_w = draw.log_w.double()
    tight, groups = log_w.logsumexp(0) - log(6), log_w.view(2, 3, -1).logsumexp(1) - log(3)
    exact = {
        Miwae: groups.mean(0),
        Piwae: tight,
        Ciwae: 0.3 * log_w.mean(0) + 0.7 * tight,
        Renyi: 2 * ((0.5 * log_w).logsumexp(0) - log(6)),
    }[type(term)]
    assert torch.allclose(value(term, draw, model).double(), -exact, atol=1e-5)
    surrogate = (log_w - log_w.logsumexp(0)).exp() * log_w
    assert not torch.allclose(value(term, draw, model).double(), -surrogate.sum(0), atol=1e-2)
    if isinstance(term, Piwae):
        assert torch.allclose(term(draw, model, T)["posterior"].double(), -groups.mean(0), atol=1e-5)


def test_in_the_mean_the_bounds_are_ordered_and_none_is_above_the_evidence():
    truth = LinearGaussian.draw(8, 2)
    batch = batch_of(truth, 1)
    wide = replace(batch, x=batch.x.expand(20_000, 8), index=torch.arange(20_000))
    torch.manual_seed(0)
    model = model_of(truth, 1.5)
    draw = model.draw(wide, samples=12)
    elbo, ciwae, miwae, iwae = (
        -value(term, draw, model).double() for term in (Miwae(12, 1), Ciwae(12, 0.5), Miwae(4, 3), Iwae(12))
    )
    for lower, higher in ((elbo, miwae), (miwae, iwae), (elbo, ciwae), (ciwae, iwae)):
        assert (higher - lower).mean() > 4 * (higher - lower).std() / 20_000**0.5
    assert iwae.mean() - truth.log_likelihood(batch.x) < 4 * iwae.std() / 20_000**0.5
    # the expectation is the 3-sample bound, whatever the number of groups
    three = -value(Iwae(3), model.draw(wide, samples=3), model).double()
    assert abs(miwae.mean() - three.mean()) < 4 * ((miwae.var() + three.var()) / 20_000) ** 0.5


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 0.99, 1.0, 1.01, 1.3])
def test_renyi_with_many_samples_meets_its_closed_form(alpha):
    truth = LinearGaussian.draw(8, 2)
    batch = batch_of(truth, 1)
    width, k = 1.3, 200_000
    torch.manual_seed(1)
    model = model_of(truth, width)
    draw = model.draw(batch, samples=k)
    # the integral of p^(1 - alpha) q^alpha of two Gaussians with scales 1 and width, in each of two dimensions
    power = 1 - alpha
    if power:
        gap = 2 * (-alpha * log(width) - 0.5 * log(power + alpha / width**2)) / power
    else:
        gap = -2 * (0.5 * (width**2 - 1) - log(width))
    raised = (power * (draw.log_w[:, 0].double() - truth.log_likelihood(batch.x))).exp()
    error = raised.std() / raised.mean() / k**0.5 / abs(power) if power else draw.log_w.std() / k**0.5
    found = -value(Renyi(k, alpha), draw, model).double() - truth.log_likelihood(batch.x)
    assert abs(found - gap) < 4 * error + 2e-5
    assert 0 < error < 0.01


def test_renyi_falls_with_its_order_and_is_steady_around_one():
    model, draw = rough(samples=6)
    values = [value(Renyi(6, alpha), draw, model) for alpha in (-2.0, 0.0, 0.5, 0.998, 1.0, 1.002, 3.0)]
    assert all((after - before >= -1e-4).all() for before, after in pairwise(values))
    spread = draw.log_w.var(0, correction=0)  # the slope in alpha at 1 is half the variance of log w
    assert torch.allclose(values[5] - values[3], 0.004 * spread / 2, atol=1e-3, rtol=0.05)


def gradients(make, repeats=120, copies=200):
    """(repeats, P) gradients of the mean over many copies of one example, in the posterior's weights."""
    torch.manual_seed(3)
    model = VAE(Standard(2), Net(nn.Linear(3, 4), Gaussian(2)), Net(nn.Linear(2, 3), Isotropic()))
    batch = Batch(torch.randn(1, 3).expand(copies, 3), torch.arange(copies), copies)
    weights = list(model.posterior.parameters())
    found = []
    for _ in range(repeats):
        term = make()
        loss = term(model.draw(batch, term.samples, term.gradient), model, T)
        loss = loss["posterior"] if isinstance(term, Piwae) else loss
        found.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss.mean(), weights)]).double())
    return torch.stack(found)


@pytest.mark.parametrize(
    "make",
    [
        lambda g: Miwae(2, 4, g),
        lambda g: Piwae(4, 2, g),
        lambda g: Ciwae(6, 0.4, g),
        lambda g: Renyi(6, 0.5, g),
        lambda g: Renyi(6, -1.0, g),
        lambda g: Renyi(6, 1.5, g),
    ],
    ids=["miwae", "piwae", "ciwae", "renyi", "renyi-upper", "renyi-lower"],
)
def test_doubly_reparameterised_gradients_are_the_pathwise_ones_in_the_mean(make):
    one, other = (gradients(lambda g=g: make(g)) for g in ("pathwise", "dreg"))
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() / error).max() < 4.5  # 16 weights: a false alarm in 9,000 seeds
    assert one.mean(0).abs().max() > 20 * error.max()  # there was something to be wrong about


def test_the_encoder_of_piwae_gets_miwae_s_gradient_and_the_decoder_iwae_s():
    def taken(term, loss, of):
        model, draw = rough(samples=6)
        parts = list(of(model).parameters())
        return torch.autograd.grad(loss(term(draw, model, T)).mean(), parts)

    model, _ = rough(samples=6)
    players = Step(model, Piwae(2, 3)).players()
    assert {name: len(part) for name, part in players.items()} == {"posterior": 4, "model": 5}
    assert all(a is b for a, b in zip(players["posterior"], model.posterior.parameters(), strict=True))
    pairs = [
        ("posterior", lambda m: m.posterior, Miwae(2, 3), Iwae(6)),
        ("model", lambda m: m.likelihood, Iwae(6), Miwae(2, 3)),
    ]
    for name, of, mine, others in pairs:
        found = taken(Piwae(2, 3), lambda loss, n=name: loss[n], of)
        assert all(torch.allclose(a, b) for a, b in zip(found, taken(mine, lambda loss: loss, of), strict=True))
        assert not all(torch.allclose(a, b) for a, b in zip(found, taken(others, lambda loss: loss, of), strict=True))


def test_the_loop_gives_each_player_of_piwae_its_gradient(tiny):
    def moved(term):
        torch.manual_seed(0)
        posterior = Net(Mlp((1, 6, 5), (8,), (6,)), Gaussian(3))
        model = VAE(Standard(3), posterior, Net(Mlp((3,), (8,), (1, 6, 5)), Bernoulli()))
        trainer = Trainer(model, term, tiny, Training(epochs=1, batch_size=50, validate_every=0), "float32")
        trainer.advance()
        return [p.detach().clone() for p in (posterior.network.last.weight, model.likelihood.network.last.weight)]

    piwae, miwae, iwae = moved(Piwae(2, 3)), moved(Miwae(2, 3)), moved(Iwae(6))
    assert torch.allclose(piwae[0], miwae[0], atol=1e-6)
    assert torch.allclose(piwae[1], iwae[1], atol=1e-6)


def test_bounds_that_cannot_be_say_so():
    model, draw = rough(samples=5)
    two = replace(draw, z=(draw.z[0], draw.z[0]))
    wrong = [
        lambda: Miwae(0, 2),
        lambda: Piwae(2, 0),
        lambda: Ciwae(5, 1.2),
        lambda: Renyi(5, 1.0001),
        lambda: Renyi(5, inf),
        lambda: Miwae(2, 2, "sticking"),
        lambda: Renyi(2, 0.5, "score"),
        lambda: Miwae(2, 3)(draw, model, T),
        lambda: Renyi(5, 0.5, "dreg")(two, model, T),
        lambda: Step(nn.Linear(2, 2), Piwae(2, 2)).players(),
    ]
    for attempt in wrong:
        with pytest.raises(SettingError):
            attempt()
