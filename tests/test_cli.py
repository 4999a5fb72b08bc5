"""The installed command as a person meets it, in processes of its own."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from unveil.recipes import RECIPES

UNVEIL = [sys.executable, "-m", "unveil"]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


def unveil(*arguments, cwd, code=0, **env):
    done = subprocess.run(
        [*UNVEIL, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def trained(room):
    done = unveil("train", "digits", "--epochs", "2", "--latent", "3", cwd=room)
    return room / "runs" / "vae", done


def test_training_leaves_a_run_folder_with_everything_in_it(trained):
    path, done = trained
    names = {entry.name for entry in path.iterdir()}
    assert names == {"run.json", "model.safetensors", "metrics.jsonl", "timing.jsonl", "pictures", "checkpoints"}
    pictures = {entry.name for entry in (path / "pictures").iterdir()}
    assert pictures == {"latent_plane.png", "manifold.png", "reconstructions.png", "samples.png", "curves.png"}
    for picture in pictures:
        assert np.asarray(Image.open(path / "pictures" / picture)).std() > 5, f"{picture} shows nothing"
    manifest = json.loads((path / "run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["recipe"] == "vae"
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert not any("second" in key or "time" in key for record in records for key in record)
    assert done.stderr.count("epoch ") == 2
    assert "\r" not in done.stderr


def test_a_second_run_gets_a_folder_of_its_own(trained, room):
    unveil("train", "digits", "--epochs", "1", cwd=room)
    assert (room / "runs" / "vae-2" / "run.json").is_file()


def test_samples_are_a_function_of_the_seed(trained, room):
    path, _ = trained
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        unveil("sample", path, "-n", "5", "--seed", seed, "--out", f"{name}.npy", cwd=room)
    a, b, c = (np.load(room / f"{name}.npy") for name in "abc")
    assert a.shape == (5, 1, 8, 8)
    assert set(np.unique(a)) <= {0.0, 1.0}
    assert (a == b).all()
    assert (a != c).any()
    unveil("sample", path, "-n", "5", "--mean", "--out", "folder", cwd=room)
    assert sorted(entry.name for entry in (room / "folder").iterdir()) == [f"{i}.png" for i in range(5)]


def test_encode_writes_what_it_says_and_does_so_again(trained, room):
    path, _ = trained
    for name in ("z1.npz", "z2.npz"):
        unveil("encode", path, "digits", "--out", name, cwd=room)
    first, second = np.load(room / "z1.npz"), np.load(room / "z2.npz")
    assert sorted(first) == ["index", "label", "mean", "scale"]
    assert first["mean"].shape == first["scale"].shape == (180, 3)
    assert (first["scale"] > 0).all()
    assert all((first[name] == second[name]).all() for name in first)


def test_evaluate_states_every_figure_and_keeps_it(trained, room):
    path, _ = trained
    done = unveil("evaluate", path, "--samples", "20", "--images", "50", cwd=room)
    report = json.loads((path / "report.json").read_text())
    assert report["samples"] == 20
    assert report["nll"]["n"] == 50
    assert report["split"] == "test"
    assert f"{report['nll']['value']:.2f} ± {report['nll']['stderr']:.2f} nats (n = 50)" in done.stdout
    assert "about" in done.stderr


def test_reconstructions_are_drawn(trained, room):
    path, _ = trained
    unveil("reconstruct", path, "digits", "--out", "r.png", "-n", "7", cwd=room)
    assert Image.open(room / "r.png").size[0] > 200


@pytest.mark.parametrize(("wish", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_what_was_trained_and_resume_goes_on(wish, code, room):
    command = [*UNVEIL, "train", "digits", "--epochs", "400", "--out", f"stopped-{code}"]
    process = subprocess.Popen(command, cwd=room, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    assert "epoch 1/" in process.stderr.readline()
    process.send_signal(wish)
    assert process.wait(timeout=60) == code
    assert f"--out stopped-{code} --resume" in process.stderr.read()
    assert json.loads((room / f"stopped-{code}" / "run.json").read_text())["status"] == "interrupted"
    assert not (room / f"stopped-{code}" / "lock").exists()
    unveil("sample", f"stopped-{code}", "-n", "2", "--out", "s.npy", cwd=room)
    unveil("train", "digits", "--epochs", "400", "--out", f"stopped-{code}", cwd=room, code=2)
    process = subprocess.Popen([*command, "--resume"], cwd=room, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert int(line.split("/")[0].removeprefix("epoch ")) > 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_second_ctrl_c_ends_at_once_and_leaves_what_was_saved(room):
    command = [*UNVEIL, "train", "digits", "--epochs", "4000", "--checkpoint-steps", "5", "--out", "twice"]
    process = subprocess.Popen(command, cwd=room, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    assert "epoch 1/" in process.stderr.readline()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert list((room / "twice" / "checkpoints").iterdir())
    assert "Traceback" not in process.stderr.read()
    for name, *rest in (["sample"], ["evaluate", "--samples", "2", "--images", "5"]):
        done = unveil(name, "twice", *rest, cwd=room)
        assert done.stderr.count("twice is unfinished: ") == 1
        assert "--resume" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "mnits"], "did you mean 'mnist'"),
        (["train", "digits", "--recipe", "mnist2d"], "did you mean 'mnist-2d'"),
        (["train", "digits", "--latent", "-3"], "-3 dimensions"),
        (["train", "digits", "--epochs", "0"], "epochs cannot be 0"),
        (["train", "digits", "--epoch", "3"], "--epoch"),
        (["train", "digits", "--epochs", "many"], "many"),
        (["evaluate"], "RUN"),
        (["train", "digits", "--device", "abacus"], "abacus"),
        (["train", "missing.npz"], "no file missing.npz"),
        (["train", "wrong.npz"], "10 images but labels of shape (9,)"),
        (["train", "text.npy"], "is no .npy or .npz file"),
        (["evaluate", "."], "is no run folder"),
        (["sample", "nowhere"], "is no run folder"),
        (["sampel"], "did you mean 'sample'"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, said, room):
    np.savez(room / "wrong.npz", images=np.zeros((10, 8, 8), np.uint8), labels=np.zeros(9, int))
    (room / "text.npy").write_text("hello")
    done = unveil(*arguments, cwd=room, code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_mnist_is_named(room):
    folder = room / "data" / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"<html>not found</html>")
    done = unveil("train", "mnist", "--data-dir", room / "data", cwd=room, code=2)
    assert "train-images-idx3-ubyte" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_needs_no_torch_and_names_every_command():
    start = time.perf_counter()
    done = subprocess.run([*UNVEIL, "--help"], capture_output=True, text=True, check=True)
    print(f"help took {time.perf_counter() - start:.2f} s")
    for command in ("demo", "train", "sample", "encode", "reconstruct", "evaluate", "recipes"):
        assert command in done.stdout


def test_recipes_are_listed(room):
    lines = unveil("recipes", cwd=room).stdout.splitlines()
    named = [line.split()[0] for line in lines if not line.startswith((" ", "train"))]
    assert named[:3] == ["vae", "mnist", "mnist-2d"]  # a newcomer's first, and every name apart from its summary
    assert set(named) == set(RECIPES)


@pytest.mark.parametrize("arguments", [["--help"], ["recipes"]])
def test_a_reader_that_has_gone_is_no_matter(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "unveil", *arguments], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
