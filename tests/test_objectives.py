"""Bounds, schedules, constraints and the prices of regularised autoencoders, against closed forms and each other."""

from dataclasses import replace
from itertools import pairwise
from math import exp, inf, log

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from test_exact import batch_of, model_of
from torch import nn

from unveil.data import Batch, LinearGaussian
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import (
    MODEL,
    Capacity,
    Ciwae,
    DecoderNorm,
    Distortion,
    FreeBits,
    Geco,
    GradientPenalty,
    Iwae,
    Miwae,
    Norm,
    Piwae,
    Rate,
    Renyi,
    StructuralSimilarity,
    Term,
    Warmup,
)
from unveil.objectives.similarity import WEIGHTS, similarity
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Point, Standard
from unveil.training import Training
from unveil.training.loop import Trainer
from unveil.training.step import Step

T = torch.tensor(0.0)
END = torch.tensor(inf)


class Level(Term):
    """A loss that is known: its weight for every example, or one each."""

    def __init__(self, *levels):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(levels))

    def forward(self, draw, model, t):
        return self.level.expand(len(draw.batch.x))


def rough(seed=0, samples=1, gradient="pathwise", n=8):
    """A model far from the truth, and draws from it."""
    torch.manual_seed(seed)
    model = VAE(Standard(2), Net(Mlp((3,), (4,), (4,)), Gaussian(2)), Net(Mlp((2,), (4,), (3,)), Isotropic()))
    batch = Batch(torch.randn(n, 3), torch.arange(n), n)
    return model, model.draw(batch, samples, gradient)


def value(term, draw, model, t=T):
    loss = term(draw, model, t)
    return loss if isinstance(loss, torch.Tensor) else loss[MODEL]


# --- bounds ----------------------------------------------------------------------------------------------------------


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


# --- schedules and constraints ---------------------------------------------------------------------------------------


def test_a_warm_up_in_cycles_begins_anew_and_is_over_at_the_end_of_time():
    model, draw = rough()
    term = Warmup(Level(3.0), 2.0, 4.0)
    weights = [
        float(value(term, draw, model, torch.tensor(t))[0].detach()) / 3 for t in (0.0, 1.0, 2.0, 3.9, 4.0, 5.0, 7.0, inf)
    ]
    assert weights == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 1])


@pytest.mark.parametrize(("t", "aim"), [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0), (9.0, 4.0), (inf, 4.0)])
def test_a_capacity_pulls_the_mean_rate_to_a_level_that_rises(t, aim):
    model, draw = rough(n=3)
    level = Level(1.0, 2.0, 6.0)  # their mean is 3
    loss = Capacity(level, 4.0, 2.0, 10.0)(draw, model, torch.tensor(t))
    assert loss.tolist() == pytest.approx([10 * abs(3 - aim)] * 3)
    (pull,) = torch.autograd.grad(loss.mean(), level.level)
    # every example is pulled the same way, even the one that is on the other side of the aim
    assert pull.tolist() == pytest.approx([10 / 3 * (1 if aim < 3 else -1)] * 3)


def test_a_capacity_that_takes_no_time_is_there_from_the_start():
    model, draw = rough(n=3)
    assert Capacity(Level(4.0), 4.0, 0.0)(draw, model, T).tolist() == [0.0] * 3


def layered(*rates):
    """A draw with a layer of z for each of `rates`, (1, B) nats."""
    _, draw = rough(n=2)
    kls = tuple(torch.tensor([rate], requires_grad=True) for rate in rates)
    return kls, replace(draw, z=tuple(torch.zeros(1, 2, 1) for _ in rates), divergences=lambda: kls)


def test_free_bits_stop_paying_below_the_floor_layer_by_layer():
    (above, below), draw = layered([1.0, 5.0], [0.1, 3.0])  # means 3 and 1.55: the second has an example above the floor
    loss = FreeBits(2.0)(draw, None, T)
    assert loss.tolist() == [5.0, 5.0]
    loss.mean().backward()
    assert above.grad.tolist() == [[0.5, 0.5]]
    assert below.grad.tolist() == [[0.0, 0.0]]


def test_without_a_floor_free_bits_are_the_rate():
    _, draw = layered([1.0, 5.0], [0.1, 3.0])
    assert FreeBits(0.0)(draw, None, T).mean() == draw.rate.mean()


def distorted(nats):
    model, draw = rough(n=2)
    return model, replace(draw, log_px=-torch.tensor([nats]))


def test_the_multiplier_rises_while_the_constraint_is_violated_and_only_by_an_update():
    term = Geco(Level(7.0), 10.0, memory=0.5)
    model, bad = distorted([12.0, 30.0])
    _, good = distorted([1.0, 2.0])
    assert term(bad, model, T).tolist() == [7.0 + 2.0, 7.0 + 20.0]  # the multiplier begins at 1
    assert term.log_multiplier == term.excess == 0
    path = []
    for draw in (bad, bad, bad, good, good, good, good, good, good):
        term.update(draw)
        path.append(float(term.log_multiplier))
    assert path[0] > 0
    assert path[:3] == sorted(path[:3])
    assert path[-1] < path[-2] < path[-3]
    price = exp(path[-1])
    assert term(bad, model, T).tolist() == pytest.approx([7.0 + 2 * price, 7.0 + 20 * price])


def test_the_multiplier_stays_positive_and_finite_whatever_comes():
    for nats, most in (([1e30, 1e30], 100.0), ([-1e30, -1e30], 0.01)):
        _, draw = distorted(nats)
        term = Geco(Level(0.0), 10.0)
        for _ in range(2_000):
            term.update(draw)
        assert float(term.log_multiplier.exp()) == pytest.approx(most, rel=1e-4)


def test_at_the_end_of_time_slack_is_worth_nothing_and_excess_at_least_its_nats():
    model, bad = distorted([9.0, 13.0])
    _, good = distorted([8.0, 11.0])
    for multiplier in (0.1, 30.0):
        term = Geco(Level(7.0), 10.0)
        term.log_multiplier.fill_(log(multiplier))
        assert float(term(bad, model, END).detach().mean()) == pytest.approx(7.0 + max(1.0, multiplier))
        assert term(good, model, END).tolist() == [7.0, 7.0]


def test_the_loop_moves_the_multiplier_until_the_constraint_is_met():
    data = LinearGaussian.draw(8, 2).dataset(2_000)

    def trained(objective, epochs):
        torch.manual_seed(0)
        likelihood = Net(nn.Linear(2, 8), Isotropic(scale=0.5, learned=False))
        model = VAE(Standard(2), Net(nn.Linear(8, 4), Gaussian(2)), likelihood)
        config = Training(epochs=epochs, batch_size=100, learning_rate=1e-2, validate_every=0, schedule="constant")
        trainer = Trainer(model, objective, data, config, "float32")
        for _ in range(trainer.total):
            trainer.advance()
        with torch.no_grad():
            draw = model.draw(next(data.train.batches(len(data.train), 0)), 20)
        assert isinstance(objective, Geco) == ("buffers/objective.log_multiplier" in trainer.state.tensors())
        return float(draw.distortion.mean()), float(draw.rate.mean())

    free, cheap = trained(Distortion() + Rate(), 25)
    for tolerance in (free - 0.4, free + 1.0):
        term = Geco(Rate(), tolerance, speed=0.03)
        held, rate = trained(term, 60)
        assert held == pytest.approx(tolerance, abs=0.1)
        assert (rate > cheap) == (term.log_multiplier > 0) == (tolerance < free)


def test_settings_that_cannot_be_say_so():
    wrong = [
        lambda: FreeBits(-1.0),
        lambda: Capacity(Rate(), -1.0, 2.0),
        lambda: Capacity(Rate(), 1.0, inf),
        lambda: Capacity(Rate(), 1.0, 1.0, 0.0),
        lambda: Geco(Rate(), inf),
        lambda: Geco(Rate(), 1.0, speed=0.0),
        lambda: Geco(Rate(), 1.0, memory=1.0),
        lambda: Geco(Rate(), 1.0, dearest=1.0),
        lambda: StructuralSimilarity(4),
        lambda: Point(()),
        lambda: Point(3)(torch.zeros(2, 4)),
    ]
    for attempt in wrong:
        with pytest.raises(SettingError):
            attempt()


# --- regularised autoencoders ----------------------------------------------------------------------------------------


def test_under_a_point_the_rate_raises_and_names_what_to_use():
    model = VAE(Standard(2), Net(nn.Linear(3, 2), Point(2)), Net(nn.Linear(2, 3), Isotropic()))
    draw = model.draw(Batch(torch.randn(4, 3), torch.arange(4), 4), 2)
    with pytest.raises(SettingError, match=r"Norm\(\) or Mmd\(\)"):
        Rate()(draw, model, T)
    assert torch.allclose(Norm()(draw, model, T), 0.5 * model.posterior(draw.batch.x).mean.square().sum(-1))


def test_the_norm_is_the_prior_s_part_of_the_rate():
    model, draw = rough(samples=3)
    assert torch.allclose(Norm()(draw, model, T), -draw.mean(draw.log_p[0]) - log(2 * np.pi), atol=1e-5)


def test_the_gradient_penalty_is_the_squared_norm_of_the_jacobian_in_the_mean():
    model, draw = rough(n=1)
    jacobian = torch.autograd.functional.jacobian(lambda z: model.decode(z[None, None]).mean[0, 0], draw.z[0][0, 0])
    many = replace(draw, z=(draw.z[0].expand(1, 20_000, 2),), log_px=torch.zeros(1, 20_000))
    found = GradientPenalty()(many, model, T).detach()
    assert found.std() > 0
    assert abs(found.mean() - jacobian.square().sum()) < 4 * found.std() / 20_000**0.5


def test_the_gradient_penalty_of_a_linear_decoder_pulls_at_its_weights():
    torch.manual_seed(0)
    model = VAE(Standard(2), Net(nn.Linear(3, 2), Point(2)), Net(nn.Linear(2, 3), Isotropic()))
    n = 20_000
    draw = model.draw(Batch(torch.randn(n, 3), torch.arange(n), n))
    weight = model.likelihood.network.weight
    (found,) = torch.autograd.grad(GradientPenalty()(draw, model, T).mean(), weight)
    assert torch.allclose(found, 2 * weight, atol=0.05 * float(weight.detach().abs().max()))  # signs average to this


def test_without_gradients_the_penalty_is_the_same_number_and_keeps_no_graph():
    model, draw = rough()
    torch.manual_seed(5)
    wanted = GradientPenalty()(draw, model, T)
    torch.manual_seed(5)
    with torch.no_grad():
        rested = GradientPenalty()(replace(draw, z=(draw.z[0].detach(),)), model, T)
    assert torch.equal(rested, wanted)
    assert wanted.requires_grad
    assert not rested.requires_grad


def test_the_decoder_s_norm_reads_its_matrices_alone():
    model, draw = rough(n=2)
    loss = DecoderNorm()(draw, model, T)
    loss.mean().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("likelihood.") and name.endswith("weight"):
            assert torch.allclose(parameter.grad, parameter)
        else:
            assert parameter.grad is None
    matrices = [p for name, p in model.likelihood.named_parameters() if name.endswith("weight")]
    assert loss.tolist() == pytest.approx([0.5 * float(sum((m.detach() ** 2).sum() for m in matrices))] * 2)


# --- structural similarity -------------------------------------------------------------------------------------------


def by_hand(x, y, window=11):
    """Multi-scale structural similarity of two images (H, W) in float64, by correlations over places inside the image."""
    side = min(x.shape)
    while window > side:
        window -= 2
    bell = np.exp(-0.5 * ((np.arange(window) - window // 2) / 1.5) ** 2)
    bell /= bell.sum()

    def blur(image):
        full = correlate1d(correlate1d(image, bell, 0, mode="constant"), bell, 1, mode="constant")
        edge = window // 2
        return full[edge : full.shape[0] - edge, edge : full.shape[1] - edge]

    lights, structures = [], []
    for _ in range(5):
        if min(x.shape) < window:
            break
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x**2) - mx**2, blur(y**2) - my**2, blur(x * y) - mx * my
        lights.append(((2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)).mean())
        structures.append(((2 * vxy + 9e-4) / (vx + vy + 9e-4)).mean())
        h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
        x, y = (i[:h:2, :w:2] / 4 + i[1:h:2, :w:2] / 4 + i[:h:2, 1:w:2] / 4 + i[1:h:2, 1:w:2] / 4 for i in (x, y))
    n = len(lights)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:n])
    weights /= weights.sum()
    return n, lights[-1] ** weights[-1] * np.prod(np.array(structures) ** weights)


SHAPES = [((8, 8), 11, 1), ((6, 5), 11, 1), ((28, 28), 11, 2), ((28, 28), 7, 3), ((45, 67), 11, 3), ((176, 180), 11, 5)]


@pytest.mark.parametrize(("shape", "window", "scales"), SHAPES)
def test_structural_similarity_meets_a_direct_computation(shape, window, scales):
    source = np.random.default_rng(0)
    x = source.random((2, 3, *shape))
    y = np.clip(x + 0.3 * source.standard_normal(x.shape), 0, 1)
    found = similarity(torch.tensor(x), torch.tensor(y), window)
    exact = [[by_hand(x[n, c], y[n, c], window) for c in range(3)] for n in range(2)]
    assert {n for row in exact for n, _ in row} == {scales}
    assert found.tolist() == pytest.approx([np.mean([value for _, value in row]) for row in exact], abs=1e-9)
    assert (found < 0.98).all()
    assert similarity(torch.tensor(x), torch.tensor(x), window).tolist() == pytest.approx([1.0, 1.0])
    assert sum(WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_the_term_compares_x_with_the_mean_of_every_draw():
    torch.manual_seed(0)
    shape = (1, 12, 12)
    model = VAE(Standard(2), Net(Mlp(shape, (4,), (4,)), Gaussian(2)), Net(Mlp((2,), (4,), shape), Bernoulli()))
    x = torch.rand(3, *shape)
    draw = model.draw(Batch(x, torch.arange(3), 3), 2)
    alike = torch.stack([similarity(x, mean) for mean in draw.output.mean])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = StructuralSimilarity()(draw, model, T)
    assert torch.allclose(found, 1 - alike.mean(0), atol=1e-6)
    assert ((found > 0) & (found <= 1)).all()
    same = replace(draw, batch=replace(draw.batch, x=draw.output.mean[0]))
    assert (
        StructuralSimilarity()(replace(same, log_px=same.log_px[:1], output=model.decode(draw.z[0][:1])), model, T).max()
        < 1e-5
    )


def test_images_that_contradict_each_other_or_are_flat_have_finite_gradients():
    x = torch.zeros(1, 1, 16, 16)
    x[..., ::2] = 1
    for image in (1 - x, torch.zeros_like(x), torch.ones_like(x)):
        y = image.clone().requires_grad_()
        alike = similarity(x, y)
        (gradient,) = torch.autograd.grad(alike.sum(), y)
        assert alike.isfinite().all()
        assert gradient.isfinite().all()
        assert 0 <= alike.detach() < 0.2


def test_what_is_no_image_is_not_compared():
    model, draw = rough()
    with pytest.raises(SettingError, match="no image"):
        StructuralSimilarity()(draw, model, T)
