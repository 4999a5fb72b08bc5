"""What the doctor says of how a run was trained, by its records, and of recipes that were trained well."""

import json
from math import exp

import pytest
from helpers.doctor import linear_data, linear_run, only, said

import unveil
from unveil.doctor import examine_run
from unveil.objectives import Distortion, Rate, Warmup
from unveil.recipes import recipe


def recorded(path, losses, training=None, **extra):
    """A run of the truth with these validation losses, an epoch each, and training losses alike."""
    run = linear_run(linear_data(1_000))
    training = losses if training is None else training
    with (path / "metrics.jsonl").open("w") as file:
        for place, (loss, own) in enumerate(zip(losses, training, strict=True)):
            record = {"epoch": place + 1, "step": 8 * (place + 1), "loss": own, "neg_elbo": own, "skipped": 0, **extra}
            file.write(json.dumps({**record, "validation": {"loss": loss, "neg_elbo": loss}}) + "\n")
    run.path = path
    return run


def examined(run):
    return examine_run(run, run.data)


SETTLED = [10 + 5 * exp(-epoch / 3) for epoch in range(30)]
"""Falls and arrives."""


@pytest.mark.parametrize("losses", [SETTLED, [10 + 20 * exp(-epoch / 8) for epoch in range(30)]], ids=["flat", "slow"])
def test_a_course_that_falls_and_arrives_is_left_alone(tmp_path, losses):
    """The second still falls by a quarter of a nat in its last tenth, at an eighth of its mean pace."""
    assert said(examined(recorded(tmp_path, losses))) == []


@pytest.mark.parametrize("epochs", [8, 30])
def test_a_loss_that_was_still_falling_is_told_to_train_longer(tmp_path, epochs):
    finding = only(
        examined(recorded(tmp_path, [20 - 0.3 * epoch for epoch in range(epochs)])), "doubtful", "was still falling"
    )
    assert "100% of its mean pace" in finding.evidence
    assert f"--epochs {2 * epochs}" in finding.change


def test_a_loss_that_rose_again_is_told_to_stop_earlier(tmp_path):
    losses = [10 + 5 * exp(-epoch / 3) + max(0, epoch - 12) * 0.1 for epoch in range(30)]
    finding = only(examined(recorded(tmp_path, losses, training=SETTLED)), "note", "rose long before training ended")
    assert "after epoch 13 of n = 30" in finding.evidence


def test_a_loss_that_rose_just_before_the_end_is_left_alone(tmp_path):
    losses = [10 + 5 * exp(-epoch / 3) + max(0, epoch - 26) * 0.3 for epoch in range(30)]
    assert examined(recorded(tmp_path, losses, training=SETTLED)) == []


def test_a_flat_course_is_left_alone(tmp_path):
    """Small steps up and down around where it began are neither falling nor rising."""
    assert examined(recorded(tmp_path, [10 + 0.02 * (-1) ** epoch for epoch in range(30)])) == []


def test_a_jump_of_the_training_loss_is_found(tmp_path):
    training = list(SETTLED)
    training[15] += 3
    finding = only(examined(recorded(tmp_path, SETTLED, training)), "doubtful", "the training loss jumped up")
    assert "in epoch 16 of n = 30" in finding.evidence


def test_what_a_warm_up_does_to_the_loss_is_no_jump(tmp_path):
    training = [loss + (3 if epoch >= 5 else 0) for epoch, loss in enumerate(SETTLED)]
    run = recorded(tmp_path, SETTLED, training)
    run.objective = Distortion() + Warmup(Rate(), 10.0)
    assert examined(run) == []
    run.objective = Distortion() + Warmup(Rate(), 3.0)
    only(examined(run), "doubtful", "the training loss jumped up")


def test_too_few_looks_say_nothing(tmp_path):
    assert examined(recorded(tmp_path, [20.0, 15.0, 12.0])) == []


@pytest.mark.parametrize(
    ("name", "settings", "training"),
    [
        ("vae", {"latent": 3, "hidden": (64,), "kl_warmup": 2.0}, {"epochs": 60}),
        ("iwae", {"latent": 3, "hidden": (64,)}, {"epochs": 60}),
    ],
)
def test_nothing_is_wrong_with_recipes_trained_on_digits(name, settings, training, digits, tmp_path):
    run = unveil.train(digits, recipe(name).given(**settings), out=tmp_path / "run", precision="float32", **training)
    assert said(examine_run(run, digits)) == []


def test_nothing_is_wrong_with_a_recipe_trained_on_tiny_images(tiny, tmp_path):
    settings = {"epochs": 60, "batch_size": 40, "learning_rate": 6e-3, "average": 0.98, "precision": "float32"}
    run = unveil.train(tiny, recipe("vae").given(latent=1, hidden=(16,), kl_warmup=1.0), out=tmp_path / "run", **settings)
    assert said(examine_run(run, tiny)) == []


def test_nothing_is_wrong_with_a_recipe_trained_on_real_data(tmp_path):
    data = linear_data(3_000)
    run = unveil.train(
        data,
        recipe("vae").given(latent=2, hidden=(32,), kl_warmup=1.0),
        out=tmp_path / "run",
        epochs=25,
        batch_size=100,
        average=0.98,
        learning_rate=1e-2,
        precision="float32",
    )
    assert said(examine_run(unveil.open(tmp_path / "run"), data)) == []
    assert said(examine_run(run, data)) == []
