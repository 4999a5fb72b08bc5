"""Players: each follows its own loss alone, in a step of the loop and in recipes."""

import pytest
import torch
from cases.basics import E, named, small
from helpers.adversarial import NOW, critic
from torch import nn
from torch.nn import functional as F

import unveil
from unveil.data import from_arrays
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
from unveil.randomness import reseed
from unveil.recipes import RECIPES
from unveil.training.config import Training
from unveil.training.loop import Trainer, fit

STILL = Training(epochs=1, batch_size=40, learning_rate=1e-3, schedule="constant", warmup=0.0, average=0.0, clip=1e9)


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
    assert {name: len(part) for name, part in trainer.steps.players.items()} == {
        adversary.PLAYER: len(mine),
        MODEL: len(list(model.parameters())),
    }
    trainer.steps.backward({name: loss.mean() for name, loss in losses(model, objective, batch).items()})
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
        for name, part in trainer.steps.players.items()
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
