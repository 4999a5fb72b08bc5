"""What training takes and refuses, and what it leaves as it was."""

import json
import os
from dataclasses import asdict, replace

import pytest
import torch
from helpers.runs import SHORT, SMALL, Interrupt, linear_model, normed
from torch import nn

import unveil
from unveil.data import from_arrays
from unveil.errors import RunError, SettingError
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate, Sum, Warmup
from unveil.parts import Gaussian, Net
from unveil.recipes import recipe
from unveil.run import check
from unveil.training import Training
from unveil.training.loop import Trainer
from unveil.training.precision import device_for


def test_warmup_rises_with_time_and_terms_that_want_other_draws_are_refused(tiny):
    model, _ = SMALL.compose(tiny)
    draw = model.draw(next(tiny.train.batches(9, 0)))
    rate = Rate()(draw, model, torch.tensor(0.0))
    for t, weight in ((0.0, 0.0), (1.0, 0.5), (5.0, 1.0)):
        assert torch.allclose(Warmup(Rate(), 2.0)(draw, model, torch.tensor(t)), weight * rate)
    assert Sum([Distortion(), Iwae(5)]).samples == 5
    with pytest.raises(SettingError, match="Iwae 50, Iwae 5"):
        Sum([Distortion(), Iwae(50), Iwae(5)])
    with pytest.raises(SettingError, match="different numbers"):  # of one class each
        2 * Iwae(2) + 0.5 * Iwae(64)
    with pytest.raises(SettingError, match="nothing can be added"):
        Iwae(5, "dreg") + Rate()
    with pytest.raises(SettingError, match="different gradients"):
        Iwae(5) + Rate("sticking")


@pytest.mark.parametrize(
    "setting", [{"epochs": 0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"warmup": 1.0}, {"average": 1.0}]
)
def test_settings_that_cannot_be_are_refused(setting):
    with pytest.raises(SettingError, match="cannot be"):
        Training(**setting)


def test_models_and_data_that_do_not_fit_are_refused_before_the_first_step(tiny, tmp_path):
    model, objective = linear_model()
    with pytest.raises(SettingError, match="'real' data"):
        unveil.train(tiny, model=model, objective=objective, out=tmp_path / "a")
    data = from_arrays(torch.randn(100, 4))
    with pytest.raises(SettingError, match="cannot read arrays"):
        unveil.train(data, model=model, objective=objective, out=tmp_path / "b")
    model.posterior = Net(Mlp((4,), (), (4,)), Gaussian(2))
    with pytest.raises(SettingError, match=r"makes x of shape \(3,\)|cannot read"):
        unveil.train(data, model=model, objective=objective, out=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_own_parts_train_and_open_again(tmp_path):
    data = from_arrays(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    model, objective = linear_model()
    model.posterior = Net(Own(3, 4), Gaussian(2))
    run = unveil.train(data, model=model, objective=objective, out=tmp_path / "run", epochs=1, batch_size=20)
    with pytest.raises(RunError, match="parts="):
        unveil.open(tmp_path / "run")
    again = unveil.open(tmp_path / "run", parts=[Own])
    assert torch.equal(again.model.sample(4, seed=0), run.model.sample(4, seed=0))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"] == "custom"


class Own(nn.Module):
    """A user's own network."""

    def __init__(self, before, after):
        super().__init__()
        self.before, self.after = before, after
        self.layer = nn.Linear(before, after)

    def forward(self, x):
        return self.layer(x)


def test_the_check_before_training_moves_no_buffer(tiny):
    model = normed()
    check(model, tiny)
    assert model.posterior.network.norm.num_batches_tracked == 0


def test_a_setting_that_json_cannot_hold_is_refused_before_a_folder_is_made(tiny, tmp_path):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    endless = Distortion() + Warmup(Rate(), float("inf"))
    with pytest.raises(SettingError):
        unveil.train(tiny, model=model, objective=endless, out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_training_and_evaluation_leave_the_callers_random_state(tiny, tmp_path):
    """Nothing of a run stays behind in the generator of the caller."""
    state = torch.get_rng_state()
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    assert torch.equal(torch.get_rng_state(), state)
    run.evaluate(samples=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=2).compose(tiny)
    state = torch.get_rng_state()
    unveil.train(tiny, model=model, objective=objective, out=tmp_path / "own", epochs=1, batch_size=50)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_leaves_the_number_of_threads_and_an_own_model_takes_the_plain_settings(tiny, tmp_path):
    before = torch.get_num_threads()
    run = unveil.train(tiny, "vae", out=tmp_path / "run", threads=1, **SHORT)
    assert torch.get_num_threads() == before
    assert run.manifest["threads"] == 1


def test_deterministic_training_asks_torch_for_it_and_takes_it_back(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    asked = []

    class Asks(Interrupt):
        def epoch(self, record):
            asked.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))

    unveil.train(tiny, "vae", out=tmp_path / "run", deterministic=True, monitor=Asks(-1), **SHORT)
    assert asked == [(True, ":4096:8")] * SHORT["epochs"]
    assert not torch.are_deterministic_algorithms_enabled()
    named = replace(tiny, name="mnist-2d")  # the name of a recipe, which must not matter
    own = unveil.train(named, model=normed(), objective=Distortion() + Rate(), out=tmp_path / "own", epochs=1)
    assert own.manifest["training"] == {**asdict(Training()), "epochs": 1}


def test_frozen_weights_are_part_of_the_state(tiny):
    model = normed()
    model.likelihood.requires_grad_(False)
    trainer = Trainer(model, Distortion() + Rate(), tiny, Training(epochs=1), "float32")
    assert any("likelihood" in name for name in trainer.state.tensors())


@pytest.mark.parametrize("wrong", [{"schedule": "linear"}, {"precision": "float16"}], ids=["schedule", "precision"])
def test_misspelt_settings_are_refused(wrong):
    with pytest.raises(SettingError, match="known"):
        Training(**wrong)


@pytest.mark.parametrize("wrong", [{"network": "densenet"}, {"activation": "swish"}, {"gain": 0.0}])
def test_misspelt_compositions_are_refused(wrong):
    with pytest.raises(SettingError):
        recipe("vae").given(**wrong)


def test_weights_are_chosen_by_the_whole_loss_however_short_the_training(tiny, tmp_path):
    """With a warm-up longer than the training, what is chosen by is still distortion + rate."""
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    last = run.metrics()[-1]["validation"]
    assert last["loss"] == pytest.approx(last["distortion"] + last["rate"], rel=1e-5)


@pytest.mark.parametrize(
    ("cuda", "mps", "there"), [(False, False, "cpu"), (True, False, "cpu or cuda"), (False, True, "cpu or mps")]
)
@pytest.mark.parametrize("name", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name, cuda, mps, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    with pytest.raises(SettingError, match=f"there is no device '{name}'") as caught:
        device_for(name)
    assert str(caught.value).endswith(f"; use {there}")
    assert ("mkldnn" in str(caught.value)) is False


def test_a_term_in_double_precision_is_trained_on(tiny):
    class Double(Rate):
        def forward(self, draw, model, t):
            return super().forward(draw, model, t).double()

    model, _ = SMALL.compose(tiny)
    trainer = Trainer(model, Distortion() + 0.5 * Double(), tiny, Training(batch_size=40, validate_every=0), "float32")
    trainer.step.train()
    assert trainer.advance()
