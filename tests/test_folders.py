"""A run's folder: figures say of which weights they are, and what is damaged or cannot be written is told."""

import json
from math import isfinite

import pytest
import torch
from helpers.runs import SHORT, real_data
from PIL import Image

import unveil
from unveil.data import from_arrays
from unveil.errors import DataError, RunError, SettingError
from unveil.evaluation.likelihood.compare import compare
from unveil.store import Ledger, RunFolder


def test_a_lock_that_is_a_folder_is_a_run_error(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(RunError), RunFolder(tmp_path).locked():
        pass


def disown(folder, pattern="report*.json"):
    """Let figures be of other weights than the folder's."""
    for path in folder.glob(pattern):
        path.write_text(json.dumps({**json.loads(path.read_text()), "weights": "others"}))


def test_figures_say_of_which_weights_they_are_and_go_when_those_are_others(tiny, tmp_path):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    run.evaluate(samples=5)
    report = tmp_path / "run" / "report.json"
    digest = RunFolder(tmp_path / "run").manifest()["tensors"]["model.safetensors"]
    assert json.loads(report.read_text())["weights"] == digest
    disown(tmp_path / "run")
    unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert not report.exists()


def test_evaluation_of_a_folder_that_cannot_be_written_still_answers(tiny, tmp_path, monkeypatch, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)

    def refuse(path, content):
        raise RunError(f"{path} cannot be written: Read-only file system")

    monkeypatch.setattr("unveil.store.tensors.put", refuse)
    # several blocks, so that it is put down on the way
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 20)
    assert isfinite(run.evaluate(samples=5).nll.value)
    assert caplog.text.count("cannot be written") == 2
    with pytest.raises(RunError, match="has not been evaluated"):
        run.contender()


def test_an_evaluation_that_was_stopped_goes_on_in_its_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 20)
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    whole = run.evaluate(samples=5)
    done = []

    class Stopping:
        def forecast(self, what, seconds, before):
            done.append(before)

        def done(self, images, total):
            if images > 20 and len(done) == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate(samples=5, seed=1, watcher=Stopping())
    assert len(list((tmp_path / "run").glob("partial-*.json"))) == 1
    again = unveil.open(tmp_path / "run").evaluate(tiny, samples=5, seed=1, watcher=Stopping())
    assert done[0] == 0
    assert done[1] >= 20
    assert again.nll == run.evaluate(samples=5, seed=1).nll != whole.nll
    assert not list((tmp_path / "run").glob("partial*"))


def test_runs_are_compared_by_what_their_evaluations_kept(tiny, tmp_path):
    runs = [unveil.train(tiny, "vae", out=tmp_path / name, epochs=2, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    for run in runs:
        run.evaluate(samples=5)
    one, other = (run.contender() for run in runs)
    found = compare([one, other])
    gap = abs(float(one.values.mean() - other.values.mean()))
    assert found.differences[0].gap.value == pytest.approx(gap)
    runs[1].evaluate(samples=5, seed=3)
    with pytest.raises(SettingError, match="binarisation"):
        compare([one, runs[1].contender()])
    with pytest.raises(SettingError, match="has no nil"):
        runs[1].contender("nil")
    disown(tmp_path / "b")
    unveil.train(tiny, "vae", out=tmp_path / "b", resume=True, epochs=2, seed=1)
    with pytest.raises(RunError, match="has not been evaluated"):
        unveil.open(tmp_path / "b").contender()


def test_a_report_of_another_split_or_of_other_data_does_not_replace_the_own_one(tiny, tmp_path):
    runs = [unveil.train(tiny, "vae", out=tmp_path / name, epochs=2, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    others = from_arrays(tiny.train.values, tiny.train.labels, name="my other/tiny set.npz")
    own = runs[0].evaluate(samples=5)
    before = own.kept.read_text()
    kept = [runs[0].evaluate(data, split=split, samples=5).kept for data, split in ((None, "validation"), (others, "test"))]
    assert [path.name for path in (own.kept, kept[0])] == ["report.json", "report-validation.json"]
    assert kept[1].name == f"report-tiny-set-{others.fingerprint[:8]}-test.json"
    assert own.kept.read_text() == before
    assert runs[0].evaluate(tiny, samples=5).kept == own.kept  # the same data, handed over
    for path in kept:
        with pytest.raises(RunError, match=f"there is no report {tmp_path}/b/{path.name}"):
            runs[1].contender(report=path.stem)
    runs[1].evaluate(split="validation", samples=5)
    found = compare([run.contender(report="report-validation") for run in runs])
    assert "decide on the test split" in " ".join(found.advice())
    with pytest.raises(SettingError, match="split"):
        compare([runs[0].contender(), runs[1].contender(report="report-validation")])
    disown(tmp_path / "a")
    unveil.train(tiny, "vae", out=tmp_path / "a", resume=True, epochs=2, seed=0)
    assert not list((tmp_path / "a").glob("report*"))  # of other weights, all of them


@pytest.mark.parametrize("missing", ["spec", "data", "tensors"])
def test_a_manifest_without_what_it_must_state_is_damaged(missing, tiny, tmp_path):
    unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    del content[missing]
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"states no {missing}"):
        unveil.open(tmp_path / "run")


def test_figures_that_are_not_finite_are_kept_as_none(tmp_path):
    data = real_data()
    run = unveil.train(data, "vae", out=tmp_path / "run", **SHORT)
    data.test.values[0] = 1e30
    run.evaluate(data, samples=5)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["nll"]["value"] is None
    RunFolder(tmp_path / "run").append("metrics.jsonl", {"step": 1, "loss": float("nan")})
    assert RunFolder(tmp_path / "run").lines("metrics.jsonl")[-1] == {"step": 1, "loss": None}


def test_figures_of_other_weights_are_not_kept_in_the_folder(tiny, tmp_path, caplog):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    run.evaluate(samples=5)
    assert "not kept" in caplog.text
    assert not (tmp_path / "run" / "report.json").exists()


def test_ending_a_training_again_keeps_figures_of_these_very_weights_and_no_others(tiny, tmp_path):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    found = run.evaluate(samples=5)
    run.evaluate(samples=5, split="validation")
    disown(tmp_path / "run", "report-validation.json")
    again = unveil.train(tiny, "vae", out=tmp_path / "run", resume=True, **SHORT)
    assert again.report().nll == found.nll
    assert not list((tmp_path / "run").glob("report-validation*"))


def test_another_evaluation_leaves_one_that_was_stopped_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 20)
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    seen = []

    class Stopping:
        def forecast(self, what, seconds, before):
            seen.append(before)

        def done(self, images, total):
            if images > 20 and len(seen) == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate(samples=5, seed=1, watcher=Stopping())
    report = run.evaluate(samples=2, images=9)
    assert report.kept == tmp_path / "run" / "report.json"
    run.evaluate(samples=5, seed=1, watcher=Stopping())
    assert seen[1] >= 20
    assert not list((tmp_path / "run").glob("partial*"))


def test_what_was_put_down_is_whole_whenever_it_is_cut_off(tmp_path, monkeypatch):
    """Values are written before the note that names them, so that a note never names others."""
    ledger = Ledger(tmp_path)
    first, second = {"rate": torch.zeros(3)}, {"rate": torch.ones(5)}
    ledger.keep("a" * 64, first)

    def cut(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("unveil.store.report.files.write_json", cut)
        with pytest.raises(KeyboardInterrupt):
            ledger.keep("a" * 64, second)
    assert torch.equal(Ledger(tmp_path).recall("a" * 64)["rate"], first["rate"])
    ledger.keep("a" * 64, second)
    assert torch.equal(Ledger(tmp_path).recall("a" * 64)["rate"], second["rate"])
    assert len(list(tmp_path.iterdir())) == 2
    ledger.close()
    assert not list(tmp_path.iterdir())


def test_a_run_folder_is_no_data_though_its_pictures_are_images(tiny, tmp_path):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", **SHORT)
    assert run.path is not None
    Image.new("L", (4, 4)).save(run.path / "sample.png")
    with pytest.raises(DataError, match=r"run is a run folder, which holds a model .*; give what it was trained on"):
        unveil.load(tmp_path / "run")
