"""A run is a function of data, settings and seed: stopped or struck at any step, it goes on as if nothing had happened."""

import logging
import signal
from dataclasses import replace

import pytest
import torch
from helpers.runs import SHORT, SMALL

import unveil
from unveil.data import Split
from unveil.errors import RunError
from unveil.recipes import recipe
from unveil.store import RunFolder
from unveil.training import Training
from unveil.training.loop import Trainer


class Interrupt:
    """Presses Ctrl-C at one step."""

    def __init__(self, step):
        self.at = step

    def begin(self, steps, done, batch_size, steps_per_epoch, normalised):
        self.steps = steps

    def step(self, step):
        if step == self.at:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, record):
        pass


def contents(path):
    return {name: (path / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    unveil.train(tiny, recipe=SMALL, out=path)
    return path


@pytest.mark.parametrize("step", [1, 6, 9, 13, 23])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_stopped_ends_as_one_that_did_not(step, precision, tiny, tmp_path):
    recipe = replace(SMALL, training=replace(SMALL.training, precision=precision))
    unveil.train(tiny, recipe=recipe, out=tmp_path / "whole")
    stopped = unveil.train(tiny, recipe=recipe, out=tmp_path / "run", monitor=Interrupt(step))
    assert stopped.manifest["status"] == "interrupted"
    assert stopped.manifest["outcome"]["steps"] == step
    assert unveil.open(tmp_path / "run").model.sample(3, seed=0).shape == (3, 1, 6, 5)
    unveil.train(tiny, recipe=recipe, out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    final = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    states = [tmp_path / name / "checkpoints" / str(final) / "state.safetensors" for name in ("run", "whole")]
    assert states[0].read_bytes() == states[1].read_bytes()


def test_resuming_without_a_checkpoint_begins_anew_and_with_other_settings_is_refused(tiny, whole, tmp_path):
    (tmp_path / "run").mkdir()
    unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole)
    with pytest.raises(RunError, match=r"begun with another configuration \([a-z ]+ [0-9.]+, not [0-9.]+\); resume"):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True, seed=1)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tiny, whole, tmp_path, caplog):
    unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=Interrupt(14))
    latest = tmp_path / "run" / "checkpoints" / "14" / "state.safetensors"
    latest.write_bytes(latest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True)
    assert "damaged" in caplog.text
    assert contents(tmp_path / "run") == contents(whole)


def test_training_is_a_function_of_the_seed(tiny, whole, tmp_path):
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = unveil.train(tiny, recipe=SMALL, out=tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert contents(again.path) == contents(whole)
    other = unveil.train(tiny, recipe=SMALL, out=tmp_path / "b", seed=1)
    assert contents(other.path) != contents(whole)


def test_saved_and_loaded_models_give_identical_samples(whole, tiny, tmp_path):
    run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "a")
    loaded = unveil.open(whole)
    assert torch.equal(run.model.sample(8, seed=5), loaded.model.sample(8, seed=5))
    assert not torch.equal(loaded.model.sample(8, seed=5), loaded.model.sample(8, seed=6))
    assert run.evaluate(samples=10).nll == loaded.evaluate(tiny, samples=10).nll


def test_the_test_split_is_never_looked_at(tiny, whole, tmp_path):
    class Forbidden(Split):
        def __getattribute__(self, name):
            if name in ("batches", "fixed", "subset", "mean", "sample"):
                raise AssertionError(f"training asked the test split for {name}")
            return super().__getattribute__(name)

    test = tiny.test
    guarded = replace(tiny, test=Forbidden(test.name, test.values, test.labels, test.rows, test.reading))
    unveil.train(guarded, recipe=SMALL, out=tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole)
    # nor is anything else a function of it: other test images leave every byte as it is
    other = replace(tiny, test=replace(test, values=255 - test.values))
    unveil.train(other, recipe=SMALL, out=tmp_path / "other")
    assert contents(tmp_path / "other") == contents(whole)


def test_a_damaged_checkpoint_is_written_anew(tiny, tmp_path):
    unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    folder = RunFolder(tmp_path / "run")
    latest = folder.checkpoints()[-1]
    path = tmp_path / "run" / "checkpoints" / str(latest) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert folder.checkpoint(latest)[1]["step"] == latest


def test_power_lost_while_the_weights_are_written_costs_nothing(tiny, tmp_path, monkeypatch):
    whole = unveil.train(tiny, "vae", out=tmp_path / "whole", **SHORT)
    unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    with monkeypatch.context() as patch:
        written = RunFolder.write_manifest

        def lose_power(folder, content):
            if content["status"] == "finished":
                raise KeyboardInterrupt
            written(folder, content)

        patch.setattr(RunFolder, "write_manifest", lose_power)
        with pytest.raises(KeyboardInterrupt):
            unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    with pytest.raises(RunError, match="--resume"):
        unveil.open(tmp_path / "run")
    again = unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert torch.equal(again.model.sample(5, seed=0), whole.model.sample(5, seed=0))


def test_a_checkpoint_means_the_same_weights_in_every_precision(tiny, tmp_path):
    settings = {**SHORT, "epochs": 2}
    conv = recipe("vae").given(latent=2, network="conv", channels=(4, 4))
    half = unveil.train(tiny, conv, out=tmp_path / "run", precision="bfloat16", **{**settings, "latent": None})
    state, _ = RunFolder(tmp_path / "run").checkpoint(RunFolder(tmp_path / "run").checkpoints()[-1])
    trainer = Trainer(half.model, half.objective, tiny, Training(epochs=2, batch_size=50), "float32")
    assert torch.equal(trainer.state.flat.values, state["best/values"])
