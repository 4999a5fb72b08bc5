"""Players: each follows its own loss alone, and what critics come to say is what they should."""

from math import log, pi

import pytest
import torch
from cases.basics import E, named, small
from torch import nn
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

import unveil
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
    Distortion,
    FeatureDistortion,
    Rate,
)
from unveil.objectives.adversarial import seen, shuffled, told_apart
from unveil.parts import CrossEntropy, Net
from unveil.randomness import reseed
from unveil.recipes import RECIPES
from unveil.training.config import Training
from unveil.training.loop import Trainer, fit

NOW = torch.tensor(0.0)
STILL = Training(epochs=1, batch_size=40, learning_rate=1e-3, schedule="constant", warmup=0.0, average=0.0, clip=1e9)


def critic():
    return Mlp((3,), (8,), (1,), "silu")


def of_z(term):
    """The tiny VAE with a critic of z, and that critic."""
    adversary = term(critic())
    return small(), Distortion() + Rate() + 3 * adversary, adversary


def of_x():
    """The tiny VAE with a critic of x, and the critic's term."""
    judge = Critic(Mlp(E, (8,), (5,)), 5)
    adversary = AdversarialSamples(judge)
    return small(), FeatureDistortion(judge) + Rate() + 3 * adversary, adversary


GAMES = [lambda: of_z(DensityRatioCorrelation), lambda: of_z(AdversarialPrior), of_x]
IDS = ["density-ratio", "prior", "samples"]


def losses(model, objective, batch, seed=0):
    torch.manual_seed(seed)
    return objective(model.draw(batch), model, NOW)


# Whose gradient is whose


@pytest.mark.parametrize("game", GAMES, ids=IDS)
def test_each_player_gets_the_gradient_of_its_own_loss_alone(game, tiny):
    torch.manual_seed(0)
    model, objective, adversary = game()
    trainer = Trainer(model, objective, tiny, STILL, "float32")
    batch = trainer.feed.batch(0)
    mine = {id(p) for p in adversary.critic.parameters()}
    assert {name: len(part) for name, part in trainer.players.items()} == {
        adversary.PLAYER: len(mine),
        MODEL: len(list(model.parameters())),
    }
    trainer._backward({name: loss.mean() for name, loss in losses(model, objective, batch).items()})
    found = {id(p): p.grad for p in trainer.step.parameters()}
    crossed = set()
    for parameter in trainer.step.parameters():
        # by itself, from a forward pass of its own
        name, other = (adversary.PLAYER, MODEL) if id(parameter) in mine else (MODEL, adversary.PLAYER)
        loss = losses(model, objective, batch)
        (alone,) = torch.autograd.grad(loss[name].mean(), parameter, retain_graph=True)
        assert torch.allclose(found[id(parameter)], alone, atol=1e-7)
        (wrong,) = torch.autograd.grad(loss[other].mean(), parameter, allow_unused=True)
        if wrong is not None and not torch.allclose(alone, wrong, atol=1e-6):
            crossed.add(name)
    assert crossed == {MODEL, adversary.PLAYER}  # the other player's loss would have been another gradient


def test_the_gradients_of_an_adversarial_autoencoder_are_the_textbook_s(tiny):
    """Two networks, z cut off for the critic, the critic held fixed for the model."""
    torch.manual_seed(0)
    model, objective, adversary = of_z(AdversarialPrior)
    batch = next(tiny.train.batches(9, 0))
    torch.manual_seed(1)
    draw = model.draw(batch)
    loss = objective(draw, model, NOW)
    torch.manual_seed(1)
    draw = model.draw(batch)
    z, w = draw.z[0][0], torch.randn(9, 3)
    judge = adversary.critic
    real, fake = torch.ones(9, 1), torch.zeros(9, 1)
    by_critic = F.binary_cross_entropy_with_logits(
        judge(torch.cat([w, z.detach()])), torch.cat([real, fake])
    )  # the mean over both kinds
    fixed = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    fooling = F.binary_cross_entropy_with_logits(torch.func.functional_call(judge, fixed, (z,)), real)
    by_model = (draw.distortion + draw.rate).mean() + 3 * fooling
    for name, part, other in (
        (adversary.PLAYER, list(judge.parameters()), 3 * by_critic),
        (MODEL, list(model.parameters()), by_model),
    ):
        mine = torch.autograd.grad(loss[name].mean(), part, retain_graph=True)
        theirs = torch.autograd.grad(other, part, retain_graph=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("game", GAMES, ids=IDS)
def test_a_step_of_the_loop_moves_each_player_down_its_own_loss(game, tiny):
    """Adam's first step is the learning rate times the sign of the gradient."""
    torch.manual_seed(0)
    model, objective, _ = game()
    trainer = Trainer(model, objective, tiny, STILL, "float32")
    before = [parameter.detach().clone() for parameter in trainer.step.parameters()]
    reseed(0, "step", 0, 0, device=torch.device("cpu"))
    batch = trainer.feed.batch(0)
    loss = objective(model.draw(batch), model, NOW)
    gradients = {
        id(parameter): torch.autograd.grad(loss[name].mean(), parameter, retain_graph=True)[0]
        for name, part in trainer.players.items()
        for parameter in part
    }
    trainer.advance()
    for parameter, old in zip(trainer.step.parameters(), before, strict=True):
        gradient = gradients[id(parameter)]
        clear = gradient.abs() > 1e-5
        assert clear.any()
        step = (parameter.detach() - old)[clear]
        assert torch.allclose(step, -1e-3 * gradient[clear].sign(), atol=3e-6)


class Breakable(nn.Module):
    """A critic that can be told to take everything for the prior's, beyond all doubt."""

    def __init__(self):
        super().__init__()
        self.network = critic()
        self.register_buffer("broken", torch.zeros(()))

    def forward(self, z):
        return self.network(z) + torch.where(self.broken > 0, torch.inf, 0.0)


def test_a_non_finite_loss_of_the_critic_skips_the_step_for_everybody(tiny):
    torch.manual_seed(0)
    adversary = AdversarialPrior(Breakable())
    model, objective = small(), Distortion() + Rate() + adversary
    trainer = Trainer(model, objective, tiny, STILL, "float32")
    trainer.advance()
    before = {name: parameter.detach().clone() for name, parameter in trainer.step.named_parameters()}
    adversary.critic.broken.fill_(1.0)
    loss = losses(model, objective, trainer.feed.batch(1))
    assert loss[MODEL].isfinite().all()
    assert loss[adversary.PLAYER].isinf().all()
    trainer.advance()
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.step.named_parameters())
    adversary.critic.broken.fill_(0.0)
    trainer.advance()
    assert not any(torch.equal(parameter, before[name]) for name, parameter in trainer.step.named_parameters())


def test_the_adversary_of_samples_reaches_what_decodes_alone_and_features_are_fixed(tiny):
    torch.manual_seed(0)
    model = small()
    judge = Critic(Mlp(E, (8,), (5,)), 5)
    batch = next(tiny.train.batches(6, 0))
    draw = model.draw(batch)
    fooling = AdversarialSamples(judge)(draw, model, NOW)[MODEL].sum()
    encoder, decoder = list(model.posterior.parameters()), list(model.likelihood.parameters())
    gradients = torch.autograd.grad(fooling, [*encoder, *decoder], allow_unused=True)
    assert all(gradient is None for gradient in gradients[: len(encoder)])
    assert all(gradient.abs().max() > 0 for gradient in gradients[len(encoder) :])
    features = FeatureDistortion(judge)(draw, model, NOW).sum()
    gradients = torch.autograd.grad(features, [*encoder, *decoder, *judge.parameters()], allow_unused=True)
    reached = len(encoder) + len(decoder)
    assert all(gradient.abs().max() > 0 for gradient in gradients[:reached])
    assert all(gradient is None for gradient in gradients[reached:])


# What is computed


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


# Recipes


@pytest.mark.parametrize("measure", ["binary", "unit", "real"])
def test_vae_gan_is_for_every_space_and_keeps_its_last_average(measure, tiny):
    values = tiny.train.values if measure != "real" else torch.randn(200, 3)
    data = from_arrays(values, measure=measure)
    torch.manual_seed(0)
    assert RECIPES["vae-gan"].training.validate_every == 0
    model, objective = named("vae-gan", critic=(8, 5))(data)
    outcome = fit(model, objective, data, Training(epochs=2, batch_size=40, validate_every=0), "float32")
    assert (outcome.finished, outcome.best_step, outcome.best_value) == (True, outcome.steps, None)


@pytest.mark.parametrize("name", ["factor-vae", "aae"])
def test_runs_with_a_critic_train_save_and_open(name, tiny, tmp_path):
    chosen = RECIPES[name].given(latent=3, hidden=(8,), critic=8)
    run = unveil.train(tiny, recipe=chosen, out=tmp_path / "run", epochs=2, batch_size=40)
    again = unveil.open(tmp_path / "run")
    assert torch.equal(again.model.sample(4, seed=0), run.model.sample(4, seed=0))
    for (kept, a), (_, b) in zip(run.objective.named_parameters(), again.objective.named_parameters(), strict=True):
        assert torch.equal(a, b), kept
