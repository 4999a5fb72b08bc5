"""The same for the loop: mistakes in what training visits, records, chooses, keeps and survives."""

import pytest
import torch
from helpers.runs import normed
from helpers.verdicts import composed, held

from unveil.data import Feed, feed
from unveil.evaluation import bound
from unveil.objectives import Distortion, Rate
from unveil.training.guard import GuardedAdam
from unveil.training.loop import VALIDATION_BATCH, Trainer
from unveil.training.state import State


@pytest.fixture(scope="module")
def vae(tiny):
    return composed("vae", tiny)


def outcome(law, vae):
    data, model, objective = vae
    return held(law, model, objective, data).outcome


@pytest.mark.parametrize("law", ["resuming", "choice of weights", "order of rows", "test split", "lost step"])
def test_the_loop_as_it_is_passes(law, vae, tiny):
    assert outcome(law, vae) == "passed"
    assert held(law, normed(), Distortion() + Rate(), tiny).outcome == "passed"


def test_validation_as_a_mean_of_batch_means(vae, monkeypatch):
    def validate(trainer):
        with trainer.state.flat.using(trainer.state.average.values):
            model, objective = trainer.step.model, trainer.step.objective
            found = bound(model, trainer.validation, trainer.config.seed, trainer.feed.device, objective, float("inf"))
        return {
            name: float(torch.stack([part.mean() for part in values.split(VALIDATION_BATCH)]).mean())
            for name, values in found.items()
        }

    monkeypatch.setattr(Trainer, "_validate", validate)
    assert outcome("choice of weights", vae) == "failed"


def test_one_shuffle_for_all_epochs(vae, monkeypatch):
    right = feed.order
    monkeypatch.setattr(feed, "order", lambda n, seed, epoch: right(n, seed, 0))
    assert outcome("order of rows", vae) == "failed"


def test_no_shuffle_at_all(vae, monkeypatch):
    monkeypatch.setattr(feed, "order", lambda n, seed, epoch: torch.arange(n))
    assert outcome("order of rows", vae) == "failed"


def test_draws_with_replacement(vae, monkeypatch):
    monkeypatch.setattr(
        feed, "order", lambda n, seed, epoch: torch.randint(n, (n,), generator=torch.Generator().manual_seed(epoch))
    )
    assert outcome("order of rows", vae) == "failed"


def test_weights_chosen_on_test(vae, monkeypatch):
    right = Trainer.__init__

    def chosen(trainer, model, objective, data, config, *rest):
        right(trainer, model, objective, data, config, *rest)
        trainer.validation = list(data.test.batches(VALIDATION_BATCH, config.seed))

    monkeypatch.setattr(Trainer, "__init__", chosen)
    data, model, objective = vae
    check = held("test split", model, objective, data)
    assert check.outcome == "failed"
    assert "values" in check.reason


def test_the_best_weights_beside_the_latest_optimiser(vae, monkeypatch):
    right = State.tensors

    def mixed(state):
        named = right(state)
        return {**named, "weights/values": named.get("best/values", named["weights/values"])}

    monkeypatch.setattr(State, "tensors", mixed)
    assert outcome("resuming", vae) == "failed"
    assert outcome("choice of weights", vae) == "failed"


def test_the_last_weights_in_the_best_ones_place(vae, monkeypatch):
    monkeypatch.setattr(State, "use_best", lambda state: state.flat.release())
    assert outcome("choice of weights", vae) == "failed"


def test_the_best_weights_with_another_step(vae, monkeypatch):
    right = State.consider

    def consider(state, value):
        right(state, value)
        state.best_step = state.step

    monkeypatch.setattr(State, "consider", consider)
    assert outcome("choice of weights", vae) == "failed"


def test_resuming_that_restarts_the_shuffle(vae, monkeypatch):
    restore, positions, begin = State.restore, Feed.positions, Trainer.__init__
    start = {"step": 0}

    def begun(trainer, *arguments):
        start["step"] = 0
        begin(trainer, *arguments)

    def restored(state, tensors, facts):
        restore(state, tensors, facts)
        start["step"] = state.step

    monkeypatch.setattr(Trainer, "__init__", begun)
    monkeypatch.setattr(State, "restore", restored)
    monkeypatch.setattr(Feed, "positions", lambda one, step: positions(one, step - start["step"]))
    assert outcome("resuming", vae) == "failed"
    assert outcome("order of rows", vae) == "passed"


def test_resuming_without_the_optimiser(vae, monkeypatch):
    right = State.restore

    def restore(state, tensors, facts):
        right(state, tensors, facts)
        state.optimiser.first.zero_()

    monkeypatch.setattr(State, "restore", restore)
    assert outcome("resuming", vae) == "failed"


def test_one_bad_batch_that_spoils_weights_and_optimiser(vae, monkeypatch):
    def unguarded(adam, loss, learning_rate, sound):
        gradient = adam.flat.gather()
        adam.count += 1
        adam.first.lerp_(gradient, 0.1)
        adam.second.lerp_(gradient.square(), 0.01)
        adam.flat.values.sub_(learning_rate * adam.first / (adam.second.sqrt() + 1e-8))
        adam.flat.publish()
        return torch.ones((), dtype=torch.bool)

    monkeypatch.setattr(GuardedAdam, "step", torch.no_grad()(unguarded))
    assert outcome("lost step", vae) == "failed"


def test_one_bad_batch_that_spoils_running_means(tiny, monkeypatch):
    right = Trainer.__init__

    def forgetful(trainer, *arguments):
        right(trainer, *arguments)
        trainer.microbatches.drifting = []

    monkeypatch.setattr(Trainer, "__init__", forgetful)
    assert held("lost step", normed(), Distortion() + Rate(), tiny).outcome == "failed"
