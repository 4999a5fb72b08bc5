"""The commands that say how good a model is and what is wrong with it, as a person meets them."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import unveil

import unveil as unveil_data
from unveil.cli import checks, numbers
from unveil.errors import DataError
from unveil.evaluation import SECTIONS
from unveil.recipes import recipe


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("numbers")
    digits = unveil_data.load("digits")
    whole = digits.whole()
    images = (whole.values.float() / whole.values.max() * 255).round().to(torch.uint8)
    np.savez(room / "digits.npz", images=images.numpy(), labels=whole.labels.numpy())
    return room


@pytest.fixture(scope="module")
def runs(room):
    for name, epochs in (("one", "20"), ("two", "3")):
        unveil("train", "digits.npz", "--epochs", epochs, "--latent", "2", "--model.hidden", "64", "--out", name, cwd=room)
        unveil("evaluate", name, "--samples", "50", cwd=room)
    return room / "one", room / "two"


def test_sections_are_printed_and_kept_and_what_cannot_be_had_is_said(runs, room):
    asked = ["quadrature", "latent", "factors", "samples"]
    done = unveil("evaluate", "one", "--samples", "20", "--images", "60", "--also", *asked, cwd=room)
    report = json.loads((room / "one" / "report.json").read_text())
    assert set(report["sections"]) == {"quadrature", "latent"}
    assert set(report["refused"]) == {"factors", "samples"}
    for line in ("-log p(x), quadrature", "active units", "factors: none, since", "samples: none, since"):
        assert line in done.stdout
    truth, estimate = report["sections"]["quadrature"]["nll"], report["nll"]
    assert truth["value"] < estimate["value"] + 4 * estimate["estimator"]
    assert [point["samples"] for point in report["curve"]] == [1, 2, 5, 10, 20]
    assert report["bits_per_dim"]["value"] == pytest.approx(estimate["value"] / 64 / np.log(2))


def test_every_section_is_told_by_the_help(room):
    said = unveil("evaluate", "--help", cwd=room).stdout
    assert all(name in said for name in SECTIONS)


def test_comparing_says_which_is_better(runs, room):
    unveil("evaluate", "one", "--samples", "50", cwd=room)
    done = unveil("compare", "one", "two", cwd=room)
    assert "one" in done.stdout
    assert "real" in done.stdout
    assert "at least two" in unveil("compare", "one", cwd=room, code=2).stderr


def test_figures_of_another_split_lie_beside_the_report_and_compare_takes_them(runs, room):
    own = (room / "one" / "report.json").read_text()
    for name in ("one", "two"):
        done = unveil("evaluate", name, "--split", "validation", "--samples", "5", "--out", "said.json", cwd=room)
        assert f"also in {name}/report-validation.json and said.json" in done.stdout
    assert json.loads((room / "said.json").read_text())["split"] == "validation"
    assert (room / "one" / "report.json").read_text() == own
    done = unveil("compare", "one/report-validation.json", "two/report-validation.json", cwd=room)
    assert "decide on the test split" in done.stdout
    for out, said in (("one/run.json", "among the files of the run"), ("x.txt", "known endings: .json")):
        assert said in unveil("evaluate", "one", "--out", out, cwd=room, code=2).stderr
    assert "there is no report" in unveil("compare", "one/report-x.json", "two", cwd=room, code=2).stderr
    assert "no values of images" in unveil("compare", "said.json", "two", cwd=room, code=2).stderr


def test_scores_are_written_and_drawn(runs, room):
    noise = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save(room / "noise.npy", noise)
    done = unveil("score", "one", "noise.npy", "--fpr", "0.05", "--samples", "20", "--maps", "maps.png", cwd=room)
    with (room / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(40))
    assert sum(row["flag"] == "True" for row in rows) > 30
    assert "false-positive rate" in done.stdout
    assert np.asarray(Image.open(room / "maps.png")).std() > 5
    own = unveil("score", "one", "--fpr", "0.05", "--samples", "20", "--out", "own.csv", cwd=room)
    assert "180 rows" in own.stdout
    assert "training examples" not in own.stdout
    every = unveil("score", "one", "digits.npz", "--fpr", "0.05", "--samples", "5", "--out", "all.csv", cwd=room)
    assert "1,437 of the 1,797 scored examples are training examples" in every.stdout
    with (room / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(1_797))
    assert sum(row["split"] == "train" for row in rows) == 1_437
    assert "; give --fpr 0.0" in unveil("score", "one", "--fpr", "0.0001", cwd=room, code=2).stderr
    assert "known endings" in unveil("score", "one", "--out", "x.txt", cwd=room, code=2).stderr


def test_the_doctor_says_what_is_wrong_and_exits_with_1(room):
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 5), dtype=np.uint8)
    images[100:200] = images[:100]
    np.save(room / "twice.npy", images)
    done = unveil("doctor", "twice.npy", cwd=room, code=1)
    assert "evidence: " in done.stdout
    assert "change: " in done.stdout
    assert "did you mean" in unveil("doctor", "digist", cwd=room, code=2).stderr


def test_the_doctor_looks_at_runs(runs, room):
    assert "digits.npz: 1,437 train" in unveil("doctor", "one", cwd=room).stdout


def test_a_run_on_data_in_memory_is_told_from_its_records_and_how_to_hand_data_over(tiny, tmp_path, capsys):
    warm = recipe("vae").given(latent=2, hidden=(16,), kl_warmup=9.0)
    unveil_data.train(tiny, warm, out=tmp_path / "run", epochs=3, batch_size=50)
    assert checks.doctor([str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "trained on tiny in memory" in said
    assert "examine_run(run, data)" in said
    assert "the KL weight never reached one" in said
    with pytest.raises(DataError, match=r"in memory; hand the data over, as run.evaluate\(data\) in Python"):
        numbers.evaluate([str(tmp_path / "run")])


def test_a_healthy_run_is_verified(runs, room):
    done = unveil("verify", "one", "--all", cwd=room)
    assert "0 failed" in done.stdout


OWN = """
import torch
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.models import VAE
from unveil.parts import Bernoulli, Gaussian, Net, Standard

class Mean(Bernoulli):
    def forward(self, parameters):
        given = super().forward(parameters)
        exact = given.log_prob
        given.log_prob = lambda x: exact(x) / 64
        return given

def broken(data):
    shape = data.space.shape
    posterior, likelihood = Net(Mlp(shape, (16,), (4,)), Gaussian(2)), Net(Mlp((2,), (16,), shape), Mean())
    return VAE(Standard(2), posterior, likelihood), Distortion() + Rate()
"""


def test_a_user_s_own_model_is_verified_and_what_does_not_hold_is_said(room):
    (room / "mine.py").write_text(OWN)
    done = unveil("verify", "mine:broken", cwd=room, code=1)
    assert "entries of x" in done.stdout
    assert "not a mean" in done.stdout
    for wrong in ("mine:nothing", "nowhere:make", "vaee"):
        assert unveil("verify", wrong, cwd=room, code=2).stderr.count("\n") == 1


def test_all_sections_may_be_named_beside_others(monkeypatch):
    seen = []

    class Stopped(Exception):
        pass

    def asked(names):
        seen.extend(names)
        raise Stopped

    monkeypatch.setattr(sys.modules["unveil.evaluation.report"], "require", asked)
    with pytest.raises(Stopped):
        numbers.evaluate(["run", "--also", "latent", "all"])
    assert tuple(seen) == tuple(SECTIONS)
