"""Bundles: a model in a folder, called without torch and Unveil, checked, and refused where something is wrong with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.exports import SHAPE, run_of, small

import unveil
from unveil.cli import main
from unveil.errors import ExportError, RunError, SettingError
from unveil.export import BundleError, bundle, graphs
from unveil.export.readme import readme

GOLDEN = Path(__file__).parent / "golden" / "1"
ALONE = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden}:
            raise ImportError(name)

sys.meta_path.insert(0, Without())
import numpy as np
from loader import load_bundle
generate = load_bundle({folder!r})
generate.check()
x = generate(7, seed=3)
turn = np.arange(7) % 2
mean, scale = generate.encode(x, turn)
z, log_w = generate.weigh(x[1], n=5, seed=1, label=1)
y, back = generate(7, seed=3, label=1, mean=True), generate.decode(mean, turn)
np.savez({out!r}, x=x, y=y, mean=mean, scale=scale, back=back, log_w=log_w)
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A conditional model as a bundle of each form, and a VampPrior's."""
    folder, data = tmp_path_factory.mktemp("bundles"), small()
    run = run_of("cvae", data)
    for to in ("onnx", "numpy", "torch"):
        bundle(run, folder / to, to)
    bundle(run_of("vamp", data), folder / "vamp", "numpy")
    return folder


def alone(room, to, forbidden, tmp_path):
    """What a bundle gives in a process where some modules cannot be imported."""
    script = ALONE.format(forbidden=forbidden, folder=str(room / to), out=str(tmp_path / f"{to}.npz"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(room / to)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(tmp_path / f"{to}.npz")


def test_bundles_need_neither_torch_nor_unveil_and_agree(room, tmp_path):
    onnx_made = alone(room, "onnx", ("torch", "unveil", "onnx"), tmp_path)
    numpy_made = alone(room, "numpy", ("torch", "unveil", "onnx", "onnxruntime", "scipy"), tmp_path)
    torch_made = alone(room, "torch", ("unveil",), tmp_path)
    for name, array in onnx_made.items():
        np.testing.assert_allclose(array, numpy_made[name], 1e-5, 1e-5, err_msg=name)
        np.testing.assert_allclose(array, torch_made[name], 1e-5, 1e-5, err_msg=name)
    assert set(np.unique(onnx_made["x"])) <= {0, 1}


def test_a_seed_says_each_row(room):
    generate = unveil.load_bundle(room / "onnx")
    some, more = generate(3, seed=5), generate(600, seed=5)  # more than are made at a time
    assert (some == more[:3]).all()
    assert len(more) == 600
    assert (generate(3, seed=6) != some).any()
    assert (generate(4, label=1, mean=True) == generate(4, label=[1, 1, 1, 1], mean=True)).all()
    assert (generate(2, label=[0, 1], mean=True) == generate(2, mean=True)).all()


def test_samples_follow_the_model(room):
    """Means and pairwise products of 30 pixels: a false alarm in 465 * P(|z| > 5) = 3e-4 of other seeds."""
    run = run_of("vamp", small())
    exact, n = run.model.sample(20_000, seed=0).flatten(1).numpy(), 20_000
    drawn = unveil.load_bundle(room / "vamp")(n, seed=0).reshape(n, -1)

    def figures(x):
        rows, columns = np.triu_indices(x.shape[1], 1)
        return np.concatenate([x, x[:, rows] * x[:, columns]], 1)

    one, two = figures(exact), figures(drawn)
    error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two)) + 1e-6
    assert one.shape[1] == 30 + 435
    assert (np.abs(one.mean(0) - two.mean(0)) / error).max() < 5


def test_a_readme_says_what_it_is_and_names_are_plain_text(room):
    about = json.loads((room / "onnx" / "bundle.json").read_text())
    assert "README.md" in about["files"]
    said = (room / "onnx" / "README.md").read_text()
    assert said == readme(about)
    assert "x = generate(64, seed=0, label=0)" in said
    assert "needs NumPy and onnxruntime" in said
    about["data"]["name"] = "<img src=x>\n# `mine`\u202e"
    about["without"] = {"weigh": "of [no](http://here) reason"}
    said = readme(about)
    assert said.startswith("# cvae, trained on \\<img src=x\\> \\# \\`mine\\`\n")
    assert "without `weigh`: of \\[no\\](http://here) reason." in said
    assert "\u202e" not in said


def test_pseudo_inputs_stay_at_home(room):
    with np.load(room / "vamp" / "weights.npz") as weights:
        assert all(array.shape[1:] != SHAPE and array.size != 4 * 30 for array in weights.values())
    about = json.loads((room / "vamp" / "bundle.json").read_text())
    assert about["carries"] == ["pseudo-inputs, which began at training examples"]
    assert "what these are encoded as" in (room / "vamp" / "NOTICE.txt").read_text()


@pytest.mark.parametrize("name", ["vamp", "exemplar"])
def test_no_data_refuses_a_prior_made_of_them(name, tmp_path):
    with pytest.raises(SettingError, match="refit-prior RUN --prior mixture"):
        bundle(run_of(name, small()), tmp_path / "out", data=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_there_whole_or_not_at_all(room, tmp_path, monkeypatch):
    run = run_of("vae", small())
    (tmp_path / "there").mkdir()
    with pytest.raises(SettingError, match="exists; name another --out"):
        bundle(run, tmp_path / "there")
    module = sys.modules["unveil.export.bundle"]
    monkeypatch.setattr(module, "write_json", lambda path, content: path.mkdir() or path.write_bytes(b""))
    with pytest.raises(RunError, match="cannot be written"):
        bundle(run, tmp_path / "out", "numpy")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_folder_that_it_did_not_make_is_left_alone(tmp_path):
    """Another process may have the same number, on another machine that writes to the same place."""
    others = tmp_path / f".out.{os.getpid()}.tmp"
    others.mkdir()
    (others / "theirs").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        bundle(run_of("vae", small()), tmp_path / "out", "numpy")
    assert (others / "theirs").exists()


def test_a_graph_that_gives_something_else_is_not_written(tmp_path, monkeypatch):
    from unveil.export.operations import OPERATIONS

    monkeypatch.setitem(OPERATIONS, "Exp", lambda x: np.exp(x) * 1.001)
    with pytest.raises(ExportError, match="do not give what the model gives: scale of encode is"):
        bundle(run_of("vae", small()), tmp_path / "out", "numpy")
    assert not list(tmp_path.iterdir())


def damage(folder, how):
    """Something that somebody hostile, or a bad disk, may have done."""
    about = json.loads((folder / "bundle.json").read_text())
    if how == "a byte":
        path = folder / "decode.onnx"
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    elif how == "missing":
        (folder / "sample.onnx").unlink()
    elif how == "link":
        shutil.move(folder / "prior.onnx", folder.parent / "elsewhere")
        (folder / "prior.onnx").symlink_to(folder.parent / "elsewhere")
    elif how == "no graph":
        content = b"no graph at all"
        (folder / "prior.onnx").write_bytes(content)
        import hashlib

        about["files"]["prior.onnx"] = hashlib.sha256(content).hexdigest()
    elif how == "path":
        about["files"] = {"../../etc/passwd": "0" * 64, **about["files"]}
    elif how == "absolute":
        about["files"] = {"/etc/passwd": "0" * 64, **about["files"]}
    elif how == "format":
        about["format"] = 2
    elif how == "form":
        about["to"] = "pickle"
    elif how == "kinds":
        about["files"] = ["loader.py"]
    elif how == "deep":
        (folder / "bundle.json").write_text("[" * 100_000)
        return
    (folder / "bundle.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("a byte", "the SHA-256 of decode.onnx is not the one"),
        ("missing", "'sample.onnx' is missing"),
        ("link", "'prior.onnx' is missing, or no file of the bundle's own"),
        ("no graph", "a graph of it cannot be read"),
        ("path", "'../../etc/passwd' is missing, or no file of the bundle's own"),
        ("absolute", "'/etc/passwd' is missing, or no file of the bundle's own"),
        ("format", "has format 2, and this loader reads 1"),
        ("form", "'pickle' are not known"),
        ("kinds", "is no bundle"),
        ("deep", "is no bundle"),
    ],
)
def test_a_damaged_bundle_is_refused_in_one_line(room, tmp_path, how, said):
    shutil.copytree(room / "onnx", tmp_path / "bundle")
    damage(tmp_path / "bundle", how)
    with pytest.raises(BundleError) as caught:
        unveil.load_bundle(tmp_path / "bundle")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_bundle_does_not_have_it_says(room, tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        unveil.load_bundle(tmp_path / "nowhere")
    generate = unveil.load_bundle(room / "onnx")
    for wrong, said in (
        ({"n": 0}, "0 rows of seed 0 cannot be"),
        ({"n": 1, "seed": -1}, "seed -1"),
        ({"n": 1, "label": 2}, "there is no class 2; the model knows 0 to 1"),
        ({"n": 1, "label": "cat"}, "there is no class 'cat'"),
    ):
        with pytest.raises(BundleError, match=said):
            generate(**wrong)
    x, z = np.zeros((2, *generate.about["space"]["shape"])), np.zeros((2, 3))
    for told_nothing in (lambda: generate.encode(x), lambda: generate.decode(z), lambda: generate.weigh(x[0])):
        with pytest.raises(BundleError, match="on a class, and none was given: give label=, the model knows 0 to 1"):
            told_nothing()
    with pytest.raises(BundleError, match="conditioned on nothing"):
        unveil.load_bundle(room / "vamp")(1, label=0)


def test_weights_in_half_precision_are_half_as_large():
    run = run_of("vae", from_wide())
    whole, half = graphs(run), graphs(run, half=True)
    assert whole.without == {}
    assert len(half.decode.onnx) < 0.6 * len(whole.decode.onnx)
    z = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    found = [onnxruntime.InferenceSession(one.decode.onnx).run(None, {"z": z})[0] for one in (whole, half)]
    assert 0 < np.abs(found[0] - found[1]).max() < 1e-2
    said = onnx.load_from_string(whole.decode.onnx)
    assert str(Path(__file__).parents[1]) not in str(said)  # nothing of the machine that it was made on


def from_wide():
    from unveil.data import from_arrays

    images = torch.randint(0, 256, (40, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return from_arrays(images, name="wide")


@pytest.fixture
def golden(tmp_path, monkeypatch):
    shutil.copytree(GOLDEN, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_says_what_it_wrote(golden, capsys):
    assert main(["export", "run", "--to", "numpy"]) == 0
    said = capsys.readouterr()
    assert "run-numpy (" in said.out
    assert "encode, decode, prior, weigh, sample, which agree with the model to 1e-5" in said.out
    assert said.err == ""
    assert unveil.load_bundle("run-numpy")(2, mean=True).shape == (2, 1, 8, 8)
    about = json.loads(Path("run-numpy/bundle.json").read_text())
    assert about["data"]["name"] == "digits"
    assert about["recipe"] == "vae"
    assert "digits" in Path("run-numpy/NOTICE.txt").read_text().lower()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "is no run folder"),
        (["run", "--out", "run"], "run exists; name another --out"),
        (["run", "--to", "onxn"], "onxn"),
        (["run", "--out", "run/file/x"], "cannot be written"),
    ],
)
def test_wrong_input_is_one_line(golden, capsys, arguments, said):
    (golden / "run" / "file").write_text("")
    assert main(["export", *arguments]) == 2
    found = capsys.readouterr()
    assert said in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""


def test_what_is_not_installed_is_named(golden, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "run"]) == 2
    assert capsys.readouterr().err == (
        "unveil: export needs onnxscript, which is not installed; pip install 'unveil[export]'\n"
    )
