"""What is tried, that a sweep goes on from wherever it was killed, and what it says of its trials."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner, ThresholdPruner
from optuna.trial import TrialState, create_trial
from test_cli import UNVEIL, unveil

import unveil as library
from unveil.cli.common import load
from unveil.cli.parsing import parse_train
from unveil.data import from_arrays
from unveil.errors import DataError, RunError, SettingError
from unveil.evaluation.likelihood.contender import WEIGHTED, Contender
from unveil.recipes import RECIPES, recipe
from unveil.store import lock
from unveil.tuning import going, report, study, tune
from unveil.tuning.asked import STUDY
from unveil.tuning.space import DEPTH, WIDTH, Choices, Range, applied, grid, known, read, start, usual
from unveil.tuning.sweep import _require_nats

SMALL = ("hidden=8", "kl_warmup=0.0")
TINY = replace(RECIPES["vae"].given(latent=2, hidden=(8,), kl_warmup=0.0), training=RECIPES["vae"].training)


def small(digits, out, *space, **settings):
    return tune(digits, "vae", space=[*SMALL, *space], samples=2, out=out, **{"epochs": 1, "jobs": 2, **settings})


def states(path):
    with study.opened(path / STUDY, NopPruner()) as found:
        return [trial.state for trial in found.trials]


# what is tried


@pytest.mark.parametrize(
    ("text", "name", "axis"),
    [
        ("latent=4..64:log", "latent", Range(4, 64, log=True, whole=True)),
        ("model.beta=1..8", "beta", Range(1.0, 8.0)),
        ("beta = 1e-2 .. 8:log", "beta", Range(0.01, 8.0, log=True)),
        ("learning-rate=1e-4..1e-2:log", "learning_rate", Range(1e-4, 1e-2, log=True)),
        ("batch_size=50,100", "batch_size", Choices((50, 100))),
        ("network=mlp,conv", "network", Choices(("mlp", "conv"))),
        ("hidden=300x300,500", "hidden", Choices(((300, 300), (500,)))),
        ("latent=8..8", "latent", Choices((8,))),
        ("hidden_depth=1..3", DEPTH, Range(1, 3, whole=True)),
        ("beta", "beta", Range(1.0, 16.0, log=True)),
        ("kl_warmup", "kl_warmup", Range(0.0, 10.0)),
    ],
)
def test_what_is_typed_is_a_range_or_values_and_is_written_as_it_is_read(text, name, axis):
    chosen = recipe("beta-vae")
    assert read([text], chosen) == {name: axis}
    assert read([f"{name}={axis}"], chosen) == {name: axis}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["lattent=4..8"], "did you mean 'latent'"),
        (["latent=64..4"], "begins above its end; write latent=4..64"),
        (["latent=1.5..4"], "'1.5' is not a whole number"),
        (["latent=-3..4"], "cannot have -3 dimensions"),
        (["latent=4..x"], "'x' is not a whole number"),
        (["latent=4..8:ln"], "has the scale 'ln'"),
        (["latent="], "'' is not a whole number"),
        (["latent=4,4"], "a value twice"),
        (["latent=4", "latent=5..6"], "given twice"),
        (["beta=0..4:log"], "which never reaches 0.0"),
        (["beta=nan..4"], "no number that a setting can have"),
        (["network=mlp..conv"], "is no number"),
        (["network=cnn"], "'network=cnn' cannot be tried: there is no network 'cnn'"),
        (["learning_rate=0.1..20"], "cannot be tried: learning rate cannot be 20"),
        (["epochs=1..5"], "same in all trials"),
        (["threads=1"], "leave it out"),
        (["blocks"], "no usual range"),
        (["hidden=30", "hidden_width=10..20"], "hidden says what"),
    ],
)
def test_what_cannot_be_tried_is_said_in_one_line(texts, said):
    with pytest.raises(SettingError, match=said.replace("(", r"\(")) as error:
        read(texts, recipe("beta-vae"))
    assert "\n" not in str(error.value)


def test_only_what_changes_something_of_a_recipe_is_tried_by_itself(digits):
    assert set(usual(recipe("vae"), digits)) == {"learning_rate", "batch_size", "latent", WIDTH, DEPTH, "kl_warmup"}
    assert "kl_warmup" not in usual(recipe("iwae"), digits)
    assert "latent" not in usual(recipe("mnist-2d"), digits)
    assert not {WIDTH, DEPTH} & set(usual(recipe("vae").given(network="conv"), digits))
    assert usual(recipe("beta-vae"), digits)["beta"] == Range(1.0, 16.0, log=True)
    assert usual(recipe("ciwae"), digits)["beta"].high < 1
    short = replace(recipe("vae"), training=replace(recipe("vae").training, epochs=4))
    assert usual(short, digits)["kl_warmup"] == Range(0.0, 2.0)


@pytest.mark.parametrize("name", [name for name, one in RECIPES.items() if {"binary", "levels"} & set(one.measures)])
def test_every_recipe_can_be_made_with_what_is_known_of_it(name):
    chosen = recipe(name)
    space = read([name for name in known(chosen) if name in ("learning_rate", "latent", "kl_warmup")], chosen)
    first = start(chosen, space)
    assert applied(chosen, first).training.learning_rate == first["learning_rate"]
    assert applied(chosen, {"latent": 7}).model.latent == 7


def test_hidden_layers_have_a_width_and_a_number():
    assert applied(TINY, {WIDTH: 20, DEPTH: 3}).model.hidden == (20, 20, 20)
    assert applied(TINY, {DEPTH: 2}).model.hidden == (8, 8)
    assert start(TINY, {WIDTH: Range(10, 20, whole=True), DEPTH: Range(1, 3, whole=True)}) == {WIDTH: 10, DEPTH: 1}


def test_a_space_with_an_end_has_a_grid():
    space = {"network": Choices(("mlp", "conv")), "latent": Range(2, 4, log=True, whole=True)}
    found = grid(space, 6)
    assert len(found) == 6
    assert {"network": "conv", "latent": 4} in found
    assert grid(space, 5) == []
    assert grid({**space, "beta": Range(1.0, 2.0)}, 100) == []


def test_pruners_go_by_name():
    assert isinstance(study.pruner("median", 9), MedianPruner)
    assert isinstance(study.pruner("halving", 9), SuccessiveHalvingPruner)
    with pytest.raises(SettingError, match="did you mean 'median'"):
        study.pruner("medium", 9)


def test_proposals_do_not_depend_on_how_often_a_sweep_was_begun(tmp_path):
    space = {"beta": Range(0.0, 1.0), "latent": Range(1, 1_000, whole=True)}
    tried = {"at once": [], "in parts": []}
    for number in range(4):
        with study.opened(tmp_path / "in parts", NopPruner()) as found:
            trial = study.ask(found, space, 0)
            found.tell(trial, number)
            tried["in parts"].append(trial.params)
    with study.opened(tmp_path / "at once", NopPruner()) as found:
        for number in range(4):
            trial = study.ask(found, space, 0)
            found.tell(trial, number)
            tried["at once"].append(trial.params)
    assert tried["at once"] == tried["in parts"]
    assert len({one["beta"] for one in tried["at once"]}) == 4


# a sweep


def test_the_library_has_a_function_whatever_was_imported_of_the_package():
    import unveil.tuning.space

    assert library.tune is unveil.tuning.tune


@pytest.fixture(scope="module")
def found(digits, tmp_path_factory):
    """A sweep in which one learning rate is far too small."""
    place = tmp_path_factory.mktemp("sweep") / "a #?{}% place"
    rates = "learning_rate=0.000001,0.01"
    return small(digits, place, rates, "latent=2,3", trials=4, epochs=4, pruner="none")


def test_trials_are_ordinary_run_folders_judged_on_the_validation_split_alone(found, digits):
    assert [trial.state for trial in found.trials] == 4 * ["finished"]
    assert len({tuple(trial.values.items()) for trial in found.trials}) == 4
    assert found.trials[0].figure.n == len(digits.validation)
    for trial in found.trials:
        run = library.open(found.path / trial.name)
        assert run.manifest["status"] == "finished"
        assert (run.path / "report-validation.json").is_file()
        assert not (run.path / "report.json").exists()
        assert run.manifest["settings"]["latent"] == trial.values["latent"]
        assert run.manifest["training"]["learning_rate"] == trial.values["learning_rate"]
        assert run.contender("nll", "report-validation").values.mean().item() == pytest.approx(trial.figure.value)
    assert found.open().manifest["settings"]["hidden"] == [8]
    assert {entry.name for entry in found.path.iterdir()} == {
        *(f"trial-{number}" for number in range(4)),
        *("sweep.json", "study.sqlite", "tune.json", "tune.txt"),
    }


def test_the_report_says_which_differences_are_real_and_how_many_were_looked_at(found):
    assert found.best.values["learning_rate"] == 0.01
    said = str(found)
    slow = [trial.name for trial in found.trials if trial.values["learning_rate"] < 0.01]
    real = {one.worse for one in found.comparison.differences if one.verdict == "real"}
    assert slow
    assert set(slow) <= real
    assert "Holm for the 6 pairs of 4 trials" in said
    assert f"unveil evaluate {found.path / found.best.name}" in said
    assert (found.path / "tune.txt").read_text() == f"{said}\n"
    kept = json.loads((found.path / "tune.json").read_text())
    assert [trial["name"] for trial in kept["trials"]] == [trial.name for trial in found.trials]
    assert kept["comparison"]["compared"] == 6


def test_the_command_trains_the_winner(found):
    words = shlex.split(found.command)
    assert words[:3] == ["unveil", "train", "digits"]
    assert str(found).splitlines()[-1].endswith(found.command)
    given, chosen = parse_train(words[2:])
    run = found.open()
    assert load(given.data, given.reading).fingerprint == run.manifest["data"]["fingerprint"]
    assert chosen.model.hidden == (8,)
    assert {"latent": chosen.model.latent, "learning_rate": chosen.training.learning_rate} == {
        name: found.best.values[name] for name in ("latent", "learning_rate")
    }
    assert chosen.training.epochs == run.manifest["training"]["epochs"]


def test_the_same_call_trains_nothing_anew_and_more_trials_go_on(found, digits, monkeypatch):
    monkeypatch.setattr(going.Workers, "begin", lambda *given: pytest.fail("trained anew"))
    again = small(digits, found.path, "learning_rate=0.000001,0.01", "latent=2,3", trials=4, epochs=4, pruner="none")
    assert again.as_dict() == found.as_dict()


LONG = {"trials": 1, "epochs": 60, "pruner": "none"}


def begun(path):
    """The command line of such a sweep."""
    asked = ["tune", "digits", "--recipe", "vae", "--trials", "1", "--epochs", "60", "--samples", "2", "--pruner", "none"]
    space = [word for one in (*SMALL, "latent=2..4", "learning_rate=1e-3..1e-2:log") for word in ("--space", one)]
    return [*asked, *space, "--out", path]


def epochs(run):
    """The lines of metrics.jsonl."""
    path = run / "metrics.jsonl"
    return [json.loads(line)["epoch"] for line in path.read_text().splitlines()] if path.is_file() else []


def stopped(room, number, after):
    """Begin or go on, and end it with a signal when its trial has trained for some epochs; the exit code."""
    process = subprocess.Popen([*UNVEIL, *begun("killed")], cwd=room, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(epochs(room / "killed/trial-0")) < after:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait()


def test_a_sweep_that_was_killed_goes_on_to_what_it_would_have_found(digits, tmp_path):
    assert stopped(tmp_path, signal.SIGKILL, after=3) == -signal.SIGKILL
    assert stopped(tmp_path, signal.SIGINT, after=20) == 130
    assert states(tmp_path / "killed") == [TrialState.RUNNING]
    assert 20 <= len(epochs(tmp_path / "killed/trial-0")) < LONG["epochs"]
    for name in ("killed", "whole"):
        small(digits, tmp_path / name, "latent=2..4", "learning_rate=1e-3..1e-2:log", jobs=1, **LONG)
        assert epochs(tmp_path / name / "trial-0") == list(range(1, LONG["epochs"] + 1))
    whole, killed = (json.loads((tmp_path / name / "tune.json").read_text()) for name in ("whole", "killed"))
    assert {**whole, "path": ""} == {**killed, "path": ""}
    weights = [(tmp_path / name / "trial-0/model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_trials_that_do_badly_are_pruned_after_the_epoch_that_shows_it(digits, tmp_path, caplog):
    done = small(digits, tmp_path / "pruned", "latent=2..4", trials=1, epochs=5, pruner=ThresholdPruner(upper=0.0))
    assert [(trial.state, trial.epoch) for trial in done.trials] == [("pruned", 1)]
    for trial in done.trials:
        run = library.open(tmp_path / "pruned" / trial.name)
        assert run.manifest["status"] == "interrupted"
        assert [record["epoch"] for record in run.metrics()] == [1]
        assert run.metrics()[0]["validation"]["neg_elbo"] == trial.value
    assert "nothing to choose" in str(done)
    assert "pruned after epoch 1 at -ELBO" in str(done)
    with pytest.raises(RunError, match=r"no trial in .* has finished"):
        _ = done.best


def test_a_trial_that_fails_is_recorded_with_its_reason_and_ends_nothing(digits, tmp_path, monkeypatch):
    huge, settings = (300_000, 300_000), {"epochs": 1, "samples": 2, "trials": 2}
    done = tune(digits, "vae", space=["hidden=300000x300000,8"], out=tmp_path / "some", jobs=2, **settings)
    assert [(trial.state, trial.values["hidden"]) for trial in done.trials] == [("finished", (8,)), ("failed", huge)]
    assert "the model has" in done.trials[1].why
    assert "failed, since the model has" in str(done)
    monkeypatch.setattr(going, "FAILURES", 1)
    with pytest.raises(RunError, match=r"failed one after another, the last since the model has"):
        tune(digits, "vae", space=["hidden=300000x300000"], out=tmp_path / "all", **settings)
    assert states(tmp_path / "all") == [TrialState.FAIL]


def test_a_process_that_dies_is_a_failed_trial(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(going, "FAILURES", 1)
    sent = going.Workers.begin

    def begin(workers, job, log):
        worker = sent(workers, job, log)
        os.kill(worker.process.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(going.Workers, "begin", begin)
    with pytest.raises(RunError, match="since its process ended with code -9"):
        small(digits, tmp_path / "sweep", trials=1)
    assert states(tmp_path / "sweep") == [TrialState.FAIL]


# what is said of planted trials


@pytest.fixture
def planted(digits, tmp_path, monkeypatch):
    """A study of three trials: the best, one with the same mean but for noise, and one that is half a nat worse."""
    source = torch.Generator().manual_seed(0)
    n = len(digits.validation)
    base, noise = 20 + 5 * torch.randn(n, generator=source).double(), torch.randn(n, generator=source).double()
    noise = noise - noise.mean() + 1e-3
    values = {"trial-0": base + 0.5 + 0.1 * noise, "trial-1": base, "trial-2": base + noise}
    space = {"latent": Range(1, 9, whole=True)}

    def contender(name):
        return Contender.on(name, values[name], digits.validation, quantity=WEIGHTED, samples=2, seed=0)

    monkeypatch.setattr(report, "_contenders", lambda path, names, by: [contender(name) for name in names])
    with study.opened(tmp_path / STUDY, NopPruner()) as found:
        for number, own in enumerate(values.values()):
            found.add_trial(
                create_trial(
                    value=float(own.mean()),
                    params={"latent": number + 1},
                    distributions={"latent": study.distribution(space["latent"])},
                    user_attrs={"stderr": 0.1, "n": n, "by": "nll"},
                )
            )
        yield report.report(found, space, 0, recipe="vae", data="digits", path=tmp_path, pruner="none")


def test_a_planted_difference_is_real_and_a_planted_tie_is_not(planted):
    assert [trial.name for trial in planted.trials] == ["trial-1", "trial-2", "trial-0"]
    verdicts = {one.worse: one.verdict for one in planted.comparison.differences}
    assert verdicts == {"trial-0": "real", "trial-2": "not told"}
    said = str(planted)
    assert "trial-1 has the smallest mean, and is not told from trial-2" in said
    assert "Holm for the 3 pairs of 3 trials" in said
    assert "chosen as the best of 3 on these validation examples" in said


def test_what_goes_with_settings_is_told_from_enough_trials(tmp_path):
    space = {"beta": Range(0.0, 1.0), "gain": Range(0.0, 1.0)}
    distributions = {name: study.distribution(axis) for name, axis in space.items()}
    with study.opened(tmp_path / STUDY, NopPruner()) as found:
        for number, (beta, gain) in enumerate(np.random.default_rng(0).random((20, 2)).tolist()):
            if number == study.WEIGHED - 1:
                assert study.weights(found, space, 0) == {}
            found.add_trial(create_trial(value=beta, params={"beta": beta, "gain": gain}, distributions=distributions))
        told = study.weights(found, space, 0)
        assert told == study.weights(found, space, 0)
    assert told["beta"] > 0.8


# what cannot be


def test_a_damaged_study_is_said_in_one_line(digits, tmp_path, found):
    place = tmp_path / "sweep"
    place.mkdir()
    (place / "sweep.json").write_bytes((found.path / "sweep.json").read_bytes())
    whole = (found.path / STUDY).read_bytes()
    asked = {"trials": 4, "epochs": 4, "pruner": "none"}
    for damage in (b"nothing of the kind" * 100, whole[:5000], whole[:8192] + b"\xff" * 8192 + whole[16384:]):
        (place / STUDY).write_bytes(damage)
        with pytest.raises(RunError, match=r"cannot be used, since it is damaged.*name another out") as error:
            small(digits, place, "learning_rate=0.000001,0.01", "latent=2,3", **asked)
        assert "\n" not in str(error.value)
        assert (place / STUDY).read_bytes() == damage


def test_a_sweep_of_something_else_is_refused(digits, tmp_path, found):
    asked = {"trials": 4, "epochs": 4, "pruner": "none"}
    rates, latent = "learning_rate=0.000001,0.01", "latent=2,3"
    with pytest.raises(RunError, match=r"another space \(latent 2,3, not 2,4\)"):
        small(digits, found.path, rates, "latent=2,4", **asked)
    with pytest.raises(RunError, match=r"another training \(epochs 4, not 5\)"):
        small(digits, found.path, rates, latent, **{**asked, "epochs": 5})
    with pytest.raises(RunError, match=r"another recipe \(vae, not beta-vae\)"):
        tune(digits, "beta-vae", space=[*SMALL, rates, latent], samples=2, out=found.path, **asked)
    other = library.load("digits", measure="unit")
    with pytest.raises(RunError, match=r"another reading or content of its data \(measure binary, not unit"):
        small(other, found.path, rates, latent, **asked)
    x = digits.whole().values[:600].numpy()
    np.save(tmp_path / "x.npy", x.astype(np.uint8))
    with pytest.raises(RunError, match="is a sweep on other data, digits"):
        small(library.load(tmp_path / "x.npy"), found.path, rates, latent, **asked)
    run = found.path / found.best.name
    with pytest.raises(RunError, match="something else than a sweep"):
        small(digits, run, rates, latent, **asked)


def test_a_study_that_is_gone_is_missed(digits, tmp_path, found):
    (tmp_path / "trial-0").mkdir()
    (tmp_path / "sweep.json").write_bytes((found.path / "sweep.json").read_bytes())
    with pytest.raises(RunError, match=r"has trials, and no study\.sqlite"):
        small(digits, tmp_path, "learning_rate=0.000001,0.01", "latent=2,3", trials=4, epochs=4, pruner="none")


def test_two_sweeps_in_one_folder_are_refused(digits, tmp_path):
    with lock.held(tmp_path / "lock"), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        small(digits, tmp_path)


def test_what_cannot_be_tuned_is_refused_before_anything_is_trained(digits, tmp_path, capsys, monkeypatch):
    for settings, said in (
        ({"trials": 0}, "trials cannot be 0"),
        ({"jobs": 0}, "jobs cannot be 0"),
        ({"images": 1}, "images cannot be 1; give at least 2"),
        ({"pruner": "best"}, "there is no pruner 'best'"),
    ):
        with pytest.raises(SettingError, match=said):
            small(digits, tmp_path / "x", **settings)
    with pytest.raises(SettingError, match="ae has no -ELBO"):
        _require_nats(recipe("ae"), digits)
    with pytest.raises(DataError, match=r"in memory; save it as a \.npy"):
        small(from_arrays(np.random.default_rng(0).integers(0, 255, (90, 1, 8, 8)).astype(np.uint8)), tmp_path / "x")
    with pytest.raises(SettingError, match="no recipe that another process would know"):
        tune(digits, replace(TINY, name="mine"), out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingError, match=r"pip install 'unveil\[tune\]'"):
        small(digits, tmp_path / "x")


def test_the_command_says_what_is_missing(tmp_path):
    assert "there is no DATA to train on" in unveil("tune", cwd=tmp_path, code=2).stderr
    wrong = unveil("tune", "digits", "--recipe", "vae", "--space", "latent=9..2", cwd=tmp_path, code=2)
    assert wrong.stderr.splitlines()[-1].startswith("unveil: 'latent=9..2' begins above its end")
    assert "Traceback" not in wrong.stderr
