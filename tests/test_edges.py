"""Input and accidents at the edges: what is odd is refused in our words, and what goes wrong spoils nothing."""

import io
import json
import random
from dataclasses import asdict, replace
from math import isfinite
from struct import pack

import numpy as np
import pytest
import torch
from torch import nn

import unveil
from unveil.data import Plain, from_arrays
from unveil.data.idx import parse
from unveil.errors import DataError, DivergedError, RunError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate, Warmup
from unveil.parts import Bernoulli, Gaussian, Isotropic, Net, Standard
from unveil.recipes import recipe
from unveil.run import check
from unveil.store import RunFolder
from unveil.training import Training
from unveil.training.loop import Trainer, fit

SHORT = {"epochs": 3, "batch_size": 50, "checkpoint_every": 1, "latent": 2}


def floats(data, bad):
    """The training split as floats, NaN in the rows `bad`."""
    values = data.train.values.float() / 255
    values[bad] = torch.nan
    return replace(data, train=replace(data.train, values=values, reading=Plain()))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.network = Mlp((1, 6, 5), (8,), (4,))

    def forward(self, x):
        return self.network(self.norm(x))


def normed():
    torch.manual_seed(0)
    return VAE(Standard(2), Net(Normed(), Gaussian(2)), Net(Mlp((2,), (8,), (1, 6, 5)), Bernoulli(3)))


def saved(save, *arrays, **named):
    content = io.BytesIO()
    save(content, *arrays, **named)
    return content.getvalue()


IMAGES = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_damaged_array_files_raise_nothing_but_our_own_error(kind, tmp_path):
    whole = saved(np.save, IMAGES) if kind == "npy" else saved(np.savez_compressed, x=IMAGES, y=np.arange(12))
    source, path, refused, others = random.Random(0), tmp_path / f"a.{kind}", 0, set()
    for turn in range(600):
        content = bytearray(whole)
        if turn % 3:
            content[source.randrange(128 if kind == "npy" else len(content))] = source.randrange(256)
        else:
            content = content[: source.randrange(len(content))]
        path.write_bytes(content)
        try:
            unveil.load(path)
        except DataError:
            refused += 1
        except Exception as error:
            others.add(f"{type(error).__name__}: {error}")
    assert refused > 100
    assert not others


@pytest.mark.parametrize(
    "values",
    [[[1, 2], [3]], np.zeros((9, 0), "f4")],
    ids=["ragged", "no numbers in a row"],
)
def test_arrays_that_torch_cannot_take_are_refused_in_our_words(values):
    with pytest.raises(DataError):
        from_arrays(values)


def test_big_endian_arrays_are_read_or_refused_in_our_words():
    try:
        data = from_arrays(np.arange(40, dtype=">f4").reshape(20, 2))
    except DataError:
        return
    assert set(data.train.values.flatten().tolist()) <= set(range(40))


def test_labels_that_are_infinite_are_refused():
    with pytest.raises(DataError, match="labels"):
        from_arrays(np.zeros((20, 2), "f4"), labels=np.full(20, np.inf))


def test_an_empty_idx_of_absurd_shape_is_refused():
    with pytest.raises(DataError):
        parse(b"\0\0\x08\x03" + pack(">3I", 0, 2**32 - 1, 2**32 - 1), "f", 3)


def test_a_home_that_does_not_exist_is_a_data_error():
    with pytest.raises(DataError):
        unveil.load("~nobody-of-that-name/images.npy")


def test_a_damaged_checkpoint_is_written_anew(tiny, tmp_path):
    unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    folder = RunFolder(tmp_path / "run")
    latest = folder.checkpoints()[-1]
    path = tmp_path / "run" / "checkpoints" / str(latest) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert folder.checkpoint(latest)[1]["step"] == latest


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_divergence_gives_the_model_its_weights_back(precision, tiny):
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=2).compose(tiny)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(DivergedError):
        fit(model, objective, floats(tiny, slice(None)), Training(epochs=1, batch_size=50), precision)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


def test_the_check_before_training_moves_no_buffer(tiny):
    model = normed()
    check(model, tiny)
    assert model.posterior.network.norm.num_batches_tracked == 0


def test_a_poisoned_step_does_not_spoil_running_means(tiny):
    model = normed()
    outcome = fit(model, Distortion() + Rate(), floats(tiny, [7]), Training(epochs=2, batch_size=50), "float32")
    assert model.posterior.network.norm.running_mean.isfinite().all()
    assert outcome.best_value is not None
    assert isfinite(outcome.best_value)


def test_a_setting_that_json_cannot_hold_is_refused_before_a_folder_is_made(tiny, tmp_path):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    endless = Distortion() + Warmup(Rate(), float("inf"))
    with pytest.raises(SettingError):
        unveil.train(tiny, model=model, objective=endless, out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_a_lock_that_is_a_folder_is_a_run_error(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(RunError), RunFolder(tmp_path).locked():
        pass


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


class Poison:
    """Turns the training data into NaN after an epoch: from then on no step is finite."""

    def __init__(self, data, epoch):
        self.data, self.at = data, epoch

    def begin(self, steps, done, batch_size, steps_per_epoch, normalised):
        pass

    def step(self, step):
        pass

    def epoch(self, record):
        if record["epoch"] == self.at:
            self.data.train.values.fill_(torch.nan)


def real_data():
    return from_arrays(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), name="noise")


def test_a_run_that_diverges_leaves_its_best_weights(tmp_path):
    whole = unveil.train(
        real_data(), "vae", out=tmp_path / "short", **{**SHORT, "epochs": 2, "schedule": "constant", "warmup": 0}
    )
    data = real_data()
    with pytest.raises(DivergedError, match="best weights from before are in"):
        unveil.train(
            data, "vae", out=tmp_path / "run", monitor=Poison(data, 2), **{**SHORT, "schedule": "constant", "warmup": 0}
        )
    kept = unveil.open(tmp_path / "run")
    assert kept.manifest["status"] == "diverged"
    assert torch.equal(kept.model.sample(5, seed=0), whole.model.sample(5, seed=0))


def test_figures_say_of_which_weights_they_are_and_go_when_those_change(tiny, tmp_path):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    run.evaluate(samples=5)
    report = tmp_path / "run" / "report.json"
    digest = RunFolder(tmp_path / "run").manifest()["tensors"]["model.safetensors"]
    assert json.loads(report.read_text())["weights"] == digest
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert not report.exists()


def test_evaluation_of_a_folder_that_cannot_be_written_still_answers(tiny, tmp_path, monkeypatch, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)

    def refuse(path, content):
        raise RunError(f"{path} cannot be written: Read-only file system")

    monkeypatch.setattr("unveil.run.write_json", refuse)
    assert isfinite(run.evaluate(samples=5).nll.value)
    assert "cannot be written" in caplog.text


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


def test_training_leaves_the_number_of_threads_and_an_own_model_takes_the_plain_settings(tiny, tmp_path):
    before = torch.get_num_threads()
    run = unveil.train(tiny, "vae", out=tmp_path / "run", threads=1, **SHORT)
    assert torch.get_num_threads() == before
    assert run.manifest["threads"] == 1
    named = replace(tiny, name="mnist-2d")  # the name of a recipe, which must not matter
    own = unveil.train(named, model=normed(), objective=Distortion() + Rate(), out=tmp_path / "own", epochs=1)
    assert own.manifest["training"] == {**asdict(Training()), "epochs": 1}


@pytest.mark.parametrize("missing", ["spec", "data", "tensors"])
def test_a_manifest_without_what_it_must_state_is_damaged(missing, tiny, tmp_path):
    unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    del content[missing]
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"states no {missing}"):
        unveil.open(tmp_path / "run")


def test_many_samples_are_decoded_a_few_at_a_time(tiny, monkeypatch):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    monkeypatch.setattr("unveil.models.vae.CHUNK", 10)
    seen = []
    model.likelihood.network.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    assert model.sample(25, seed=0).shape == (25, 1, 6, 5)
    assert seen == [10, 10, 5]


def test_a_checkpoint_means_the_same_weights_in_every_precision(tiny, tmp_path):
    settings = {**SHORT, "epochs": 2}
    conv = recipe("vae").given(latent=2, network="conv", channels=(4, 4))
    half = unveil.train(tiny, conv, out=tmp_path / "run", precision="bfloat16", **{**settings, "latent": None})
    state, _ = RunFolder(tmp_path / "run").checkpoint(RunFolder(tmp_path / "run").checkpoints()[-1])
    trainer = Trainer(half.model, half.objective, tiny, Training(epochs=2, batch_size=50), "float32")
    assert torch.equal(trainer.state.flat.values, state["best/values"])


def test_frozen_weights_are_part_of_the_state(tiny):
    model = normed()
    model.likelihood.requires_grad_(False)
    trainer = Trainer(model, Distortion() + Rate(), tiny, Training(epochs=1), "float32")
    assert any("likelihood" in name for name in trainer.state.tensors())


def test_divergence_without_a_validation_split_keeps_the_average(tmp_path):
    data = real_data()
    with pytest.raises(DivergedError, match="best weights from before are in"):
        unveil.train(data, "vae", out=tmp_path / "run", monitor=Poison(data, 2), validate_every=0, **SHORT)
    assert unveil.open(tmp_path / "run").model.sample(2, seed=0).isfinite().all()


def test_figures_that_are_not_finite_are_kept_as_none(tmp_path):
    data = real_data()
    run = unveil.train(data, "vae", out=tmp_path / "run", **SHORT)
    data.test.values[0] = 1e30
    run.evaluate(data, samples=5)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["nll"]["value"] is None
    RunFolder(tmp_path / "run").append("metrics.jsonl", {"loss": float("nan")})
    assert RunFolder(tmp_path / "run").lines("metrics.jsonl")[-1] == {"loss": None}


def test_figures_of_other_weights_are_not_kept_in_the_folder(tiny, tmp_path, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    run.evaluate(samples=5)
    assert "not kept" in caplog.text
    assert not (tmp_path / "run" / "report.json").exists()


@pytest.mark.parametrize("wrong", [{"schedule": "linear"}, {"precision": "float16"}], ids=["schedule", "precision"])
def test_misspelt_settings_are_refused(wrong):
    with pytest.raises(SettingError, match="known"):
        Training(**wrong)


@pytest.mark.parametrize("wrong", [{"network": "resnet"}, {"activation": "swish"}, {"gain": 0.0}])
def test_misspelt_compositions_are_refused(wrong):
    with pytest.raises(SettingError):
        recipe("vae").given(**wrong)


def test_means_and_samples_of_a_seed_are_those_of_the_same_z(tiny, monkeypatch):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2).compose(tiny)
    monkeypatch.setattr("unveil.models.vae.CHUNK", 10)
    seen = []
    model.likelihood.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    model.sample(25, seed=3)
    model.sample(25, seed=3, mean=True)
    assert torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))


def test_samples_are_drawn_at_rest(tiny):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.drop = Mlp((2,), (8,), (1, 6, 5)), nn.Dropout(0.5)

        def forward(self, z):
            return self.drop(self.network(z))

    model = VAE(Standard(2), Net(Normed(), Gaussian(2)), Net(Dropping(), Bernoulli(3))).train()
    assert torch.equal(model.sample(4, seed=0, mean=True), model.sample(4, seed=0, mean=True))
    x = model.sample(1, seed=0, mean=True)
    model.likelihood.network.drop = nn.Identity()
    assert torch.equal(model.sample(1, seed=0, mean=True), x)
    assert model.training


@pytest.mark.parametrize("scale", [0.02, 1.0, 50.0])
def test_a_learned_scale_begins_where_it_is_told(scale):
    assert Isotropic(1, scale)(torch.zeros(1, 3)).stddev[0, 0].item() == pytest.approx(scale, rel=1e-4)


def test_weights_are_chosen_by_the_whole_loss_however_short_the_training(tiny, tmp_path):
    """With a warm-up longer than the training, what is chosen by is still distortion + rate."""
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    last = run.metrics()[-1]["validation"]
    assert last["loss"] == pytest.approx(last["distortion"] + last["rate"], rel=1e-5)
