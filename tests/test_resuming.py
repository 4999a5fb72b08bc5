"""A run is a function of data, settings and seed: stopped or struck at any step, it goes on as if nothing had happened."""

import json
import logging
import shutil
from dataclasses import replace

import pytest
import torch
from helpers.runs import SHORT, SMALL, Interrupt

import unveil
from unveil.cli import main
from unveil.data import Split
from unveil.errors import RunError, SettingError
from unveil.recipes import recipe
from unveil.refit import refit_prior
from unveil.store import RunFolder
from unveil.training import Training
from unveil.training.flat import in_order
from unveil.training.loop import Trainer


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
    for run in (stopped, unveil.open(tmp_path / "run")):
        assert run.model.sample(3, seed=0).shape == (3, 1, 6, 5)
        assert run.evaluate(tiny, samples=2, images=5).kept is None
    assert not (tmp_path / "run" / "report.json").exists()
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


def test_resuming_names_the_folder_or_is_refused_where_a_new_one_would_begin_anew(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unveil.train(tiny, "vae", epochs=1)
    with pytest.raises(SettingError, match=r"resume goes on in a run folder, and none is named; add out='runs/NAME'"):
        unveil.train(tiny, "vae", epochs=1, resume=True)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["vae"]


def test_a_folder_that_is_there_is_refused_before_data_are_read(tmp_path, capsys):
    # no such data either: it is the folder that is named, which costs no reading
    assert main(["train", str(tmp_path / "none.npy"), "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} exists" in capsys.readouterr().err


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
    left = unveil.open(tmp_path / "run")  # by the last checkpoint, which settles for the same weights
    assert torch.equal(left.model.sample(5, seed=0), whole.model.sample(5, seed=0))
    again = unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert torch.equal(again.model.sample(5, seed=0), whole.model.sample(5, seed=0))


def test_a_checkpoint_means_the_same_weights_in_every_precision(tiny, tmp_path):
    settings = {**SHORT, "epochs": 2}
    conv = recipe("vae").given(latent=2, network="conv", channels=(4, 4))
    half = unveil.train(tiny, conv, out=tmp_path / "run", precision="bfloat16", **{**settings, "latent": None})
    state, _ = RunFolder(tmp_path / "run").checkpoint(RunFolder(tmp_path / "run").checkpoints()[-1])
    trainer = Trainer(half.model, half.objective, tiny, Training(epochs=2, batch_size=50), "float32")
    assert torch.equal(trainer.state.flat.values, state["best/values"])


class Killed(Interrupt):
    """Ends training at one step with nothing put in order, as a kill does."""

    def step(self, step):
        if step == self.at:
            raise KeyboardInterrupt


def killed(data, path, step, precision="float32", of=SMALL, **settings):
    cut = replace(of, training=replace(SMALL.training, precision=precision, **settings))
    with pytest.raises(KeyboardInterrupt):
        unveil.train(data, recipe=cut, out=path, monitor=Killed(step))
    return cut


def settled(cut, data, path, step, looked):
    """A trainer with the weights that the checkpoint of a step would settle for, and whether it has `looked` at any."""
    trainer = Trainer(*cut.compose(cut.prepare(data)), data, cut.training, cut.training.precision)
    trainer.state.restore(*RunFolder(path).checkpoint(step))
    assert bool(trainer.state.best) is looked
    if not looked:
        trainer.state.consider(None)
    trainer.state.use_best()
    return trainer


def same_weights(run, trainer):
    expected = {**trainer.step.model.state_dict(prefix="model."), **trainer.step.objective.state_dict(prefix="objective.")}
    found = {**run.model.state_dict(prefix="model."), **run.objective.state_dict(prefix="objective.")}
    return found.keys() == expected.keys() and all(torch.equal(one, expected[name]) for name, one in found.items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("step", "best"), [(3, None), (14, 12), (23, 18)])
def test_a_run_that_was_killed_opens_with_the_weights_that_its_checkpoint_would_settle_for(
    step, best, precision, tiny, tmp_path, caplog
):
    cut = killed(tiny, tmp_path / "run", step, precision, checkpoint_steps=2)
    last = RunFolder(tmp_path / "run").checkpoints()[-1]
    run = unveil.open(tmp_path / "run")
    assert f"unfinished: {last:,} steps taken" in caplog.text
    assert "go on with --resume" in caplog.text
    trainer = settled(cut, tiny, tmp_path / "run", last, best is not None)
    assert run.manifest["outcome"]["steps"] == last
    assert run.manifest["outcome"]["best_step"] == (best or last) == trainer.state.best_step
    assert run.manifest["outcome"]["best_value"] == trainer.state.best_value
    assert (best is None) == (trainer.state.best_value is None)
    assert same_weights(run, trainer)
    report = run.evaluate(tiny, samples=2, images=5)
    assert report.kept is None
    assert "figures are not kept" in caplog.text
    with pytest.raises(RunError, match="unfinished"):
        run.contender()
    unveil.train(tiny, recipe=cut, out=tmp_path / "run", resume=True)
    assert unveil.open(tmp_path / "run").manifest["status"] == "finished"


def test_weights_in_any_order_and_buffers_that_move_are_those_of_the_best_step(tiny, tmp_path):
    """Such as exemplars, drawn afresh for each epoch, and the weights of a prior that come before those of products."""
    of = recipe("exemplar").given(latent=2, hidden=(16,), exemplars=20)
    cut = killed(tiny, tmp_path / "run", 23, of=of, checkpoint_steps=2)
    last = RunFolder(tmp_path / "run").checkpoints()[-1]
    run, trainer = unveil.open(tmp_path / "run"), settled(cut, tiny, tmp_path / "run", last, looked=True)
    assert same_weights(run, trainer)
    state, _ = RunFolder(tmp_path / "run").checkpoint(last)
    moved = "model.prior.exemplars"
    assert not torch.equal(state[f"best/buffer.{moved}"], state[f"buffers/{moved}"])
    whole = torch.nn.ModuleDict({"model": run.model, "objective": run.objective})
    assert [id(one) for one in whole.parameters()] != [id(one) for one in in_order(whole, list(whole.parameters()))]


def test_weights_of_the_objective_are_those_of_the_checkpoint_too(tiny, tmp_path):
    cut = killed(tiny, tmp_path / "run", 14, of=recipe("factor-vae").given(latent=2, hidden=(16,), critic=8))
    run, last = unveil.open(tmp_path / "run"), RunFolder(tmp_path / "run").checkpoints()[-1]
    assert list(run.objective.parameters())
    assert same_weights(run, settled(cut, tiny, tmp_path / "run", last, looked=True))


@pytest.mark.parametrize("place", [-1, 100])
def test_a_checkpoint_with_a_flipped_bit_gives_way_to_the_one_before(place, tiny, tmp_path, caplog):
    killed(tiny, tmp_path / "run", 14)
    first, second = RunFolder(tmp_path / "run").checkpoints()
    file = tmp_path / "run" / "checkpoints" / str(second) / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert unveil.open(tmp_path / "run").manifest["outcome"]["steps"] == first
    assert "taking the checkpoint before" in caplog.text


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_none_is_told(tiny, tmp_path, caplog):
    killed(tiny, tmp_path / "run", 14)
    first, second = RunFolder(tmp_path / "run").checkpoints()
    (tmp_path / "run" / "checkpoints" / str(second) / "state.safetensors").write_bytes(b"gone")
    assert unveil.open(tmp_path / "run").manifest["outcome"]["steps"] == first
    assert "taking the checkpoint before" in caplog.text
    killed(tiny, tmp_path / "early", 3)
    with pytest.raises(RunError, match="without a checkpoint that can be read; train it with --resume"):
        unveil.open(tmp_path / "early")


def test_a_run_that_goes_on_again_opens_with_its_newest_weights(tiny, tmp_path):
    """While a run that had ended is resumed, its folder still has the weights of then."""
    unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=Interrupt(7))
    with pytest.raises(KeyboardInterrupt):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True, monitor=Killed(20))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["tensors"]
    assert unveil.open(tmp_path / "run").manifest["outcome"]["steps"] == 18


def test_a_refit_that_was_killed_keeps_the_weights_that_it_leaves_alone(tiny, tmp_path):
    run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "run")
    training = Training(epochs=3, batch_size=40, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        refit_prior(run, "mixture", out=tmp_path / "refit", training=training, monitor=Killed(15))
    refitted = unveil.open(tmp_path / "refit")
    assert refitted.manifest["outcome"]["steps"] == 12
    before = run.model.posterior.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in refitted.model.posterior.state_dict().items())
    assert refitted.model.sample(2, seed=0).shape == (2, 1, 6, 5)


def test_the_state_of_another_model_is_not_taken(tiny, tmp_path):
    killed(tiny, tmp_path / "run", 14)
    other = replace(SMALL.given(hidden=(8,)), training=SMALL.training)
    with pytest.raises(KeyboardInterrupt):
        unveil.train(tiny, recipe=other, out=tmp_path / "other", monitor=Killed(14))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "run" / "checkpoints")
    with pytest.raises(RunError, match="belongs to another model"):
        unveil.open(tmp_path / "run")
