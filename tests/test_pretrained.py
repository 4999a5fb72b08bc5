"""The models that come with the package: small, whole, and as good as their report cards say."""

import json
import shutil

import pytest
import torch

import unveil
from unveil.cli import main
from unveil.errors import RunError, SettingError
from unveil.opening import PRETRAINED, shipped_names

NAMES = ("mnist", "mnist-2d")


def test_they_take_three_megabytes_together():
    assert tuple(shipped_names()) == NAMES
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*")) <= 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_they_open_offline_and_draw_the_same_for_a_seed(name, monkeypatch, tmp_path):
    monkeypatch.setenv("UNVEIL_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("socket.socket", None)
    run = unveil.pretrained(name)
    x = run.sample(16, seed=1)
    assert x.shape == (16, 1, 28, 28)
    assert torch.equal(x, unveil.open(name).sample(16, seed=1))
    assert not torch.equal(x, run.sample(16, seed=2))
    assert {one.dtype for one in run.model.parameters()} == {torch.float32}
    assert all(torch.equal(one, one.half().float()) for one in run.model.parameters())
    assert run.manifest["stored"] == "float16"
    assert "half precision" in run.manifest["notes"][0]
    assert "CC BY-SA" in run.manifest["data"]["attribution"]
    assert run.report().nll.n == 10_000


@pytest.mark.parametrize("name", NAMES)
def test_their_report_card_is_that_of_the_weights_as_shipped(name):
    run = unveil.pretrained(name)
    kept = run.contender("neg_elbo")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir())
    found = run.evaluate(images=20, samples=5)
    rows = found.values["row"].long()
    places = torch.searchsorted(kept.rows, rows)
    assert torch.equal(kept.rows[places], rows)
    # rate and distortion are of other draws of z; the rate of an image in closed form is half of them
    gap = found.values["neg_elbo"] - kept.values[places]
    assert abs(float(gap.mean())) < 4 * float(gap.std()) / 20**0.5
    assert found.kept is None
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir())


def test_a_flipped_byte_is_noticed(tmp_path):
    shutil.copytree(PRETRAINED / "mnist-2d", tmp_path / "run")
    weights = tmp_path / "run" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match="SHA-256"):
        unveil.open(tmp_path / "run")


def test_a_copy_is_an_ordinary_run_folder(tmp_path):
    shutil.copytree(PRETRAINED / "mnist-2d", tmp_path / "run")
    run = unveil.open(tmp_path / "run")
    found = run.evaluate(images=5, samples=2)
    assert found.kept == tmp_path / "run" / "report.json"
    assert str(unveil.open(tmp_path / "run").report()) == str(found)


def test_another_name_is_an_error_that_proposes_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'mnist-2d'"):
        unveil.pretrained("mnist-2")


def test_commands_take_the_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "mnist-2d", "-n", "4", "--seed", "0"]) == 0
    assert main(["report", "mnist-2d", "--no-data"]) == 0
    assert (tmp_path / "samples.png").is_file()
    assert "half precision" in (tmp_path / "report.html").read_text()
    capsys.readouterr()
    (tmp_path / "mnist-2d").mkdir()
    assert main(["sample", "mnist-2d"]) == 2, "a folder of that name goes before"
    assert json.loads((PRETRAINED / "mnist-2d" / "run.json").read_text())["status"] == "finished"


def test_the_doctor_looks_at_one_whose_name_is_no_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("UNVEIL_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("unveil.cli.checks._of_run", lambda run, given: [print(f"looked at {run.name}")][:0])
    assert main(["doctor", "mnist-2d"]) == 0
    assert "looked at mnist-2d" in capsys.readouterr().out


def test_samples_do_not_join_other_images_in_a_folder(tmp_path, capsys):
    def draw(n):
        return main(["sample", "mnist-2d", "-n", str(n), "--out", str(tmp_path / "x")])

    assert draw(3) == draw(4) == 0  # 0.png to 3.png, anew
    assert draw(2) == 2
    assert "holds 2.png, which would stand among these samples" in capsys.readouterr().err
    assert len(list((tmp_path / "x").iterdir())) == 4
