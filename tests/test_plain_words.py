"""A person at the terminal reads options as they are typed there, and is told what to give instead; in Python as there."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import unveil
from unveil import errors
from unveil.cli import COMMANDS, main
from unveil.errors import DataError, at_terminal, option


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder with images of 20 x 24, and with whole numbers that are no bytes."""
    source = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for place in range(20):
        image = source.integers(0, 256, (20, 24), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "pictures" / f"{place}.png")
    np.save(tmp_path / "whole.npy", source.integers(0, 16, (100, 8, 8)))
    np.save(tmp_path / "bytes.npy", source.integers(0, 16, (100, 8, 8)).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *arguments, code=2):
    assert main(list(arguments)) == code
    return capsys.readouterr()


def refused(capsys, *arguments):
    """The one line that is said of these arguments."""
    error = said(capsys, *arguments).err
    assert error.count("\n") == 1, error
    return error


def test_an_option_is_named_as_whoever_reads_would_give_it():
    assert option("size", (32, 32)) == "size=(32, 32)"
    assert option("measure", "count") == "measure='count'"
    assert option("bad_files") == "bad_files"
    with at_terminal():
        assert option("size", (32, 32)) == "--size 32 32"
        assert option("measure", "count") == "--measure count"
        with at_terminal():
            assert option("bad_files") == "--bad-files"
        assert option("bad_files") == "--bad-files"
    assert option("bad_files") == "bad_files"


def test_the_same_mistake_is_told_in_the_words_of_each_place(room, capsys):
    for _ in range(2):  # what was said at the terminal leaves nothing behind
        with pytest.raises(DataError, match=r"floats for real data, or measure='count'$"):
            unveil.load("whole.npy")
        assert refused(capsys, "inspect", "whole.npy").endswith("floats for real data, or --measure count\n")
        with pytest.raises(DataError, match=r"whole\.npy cannot take bad_files; it takes levels, mapped, test, validation"):
            unveil.load("whole.npy", bad_files="stop")
        line = refused(capsys, "inspect", "whole.npy", "--bad-files", "stop")
        assert "whole.npy cannot take --bad-files; it takes --levels, --mapped, --test, --validation" in line
    assert not errors._at_terminal


def test_training_without_data_says_what_data_may_be(capsys, room):
    for more in ((), ("--recipe", "mnist"), ("--epochs", "3")):
        line = refused(capsys, "train", *more)
        assert line.startswith("unveil: there is no DATA to train on; name mnist, ")
        for kind in (".npy", ".csv", ".parquet", "folder of images", "unveil demo"):
            assert kind in line
    assert not (room / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train digits --epochs many", "--epochs cannot be 'many'; it takes a whole number"),
        ("train digits --learning-rate fast", "--learning-rate cannot be 'fast'; it takes a number"),
        ("train digits --latent 2.5", "--latent cannot be '2.5'; it takes a whole number"),
        ("inspect pictures --size wide", "--size cannot be 'wide'; it takes whole numbers"),
        ("inspect pictures --fit squash", "--fit cannot be 'squash'; it takes crop, pad, stretch"),
        ("train digits --measure grey", "--measure cannot be 'grey'; it takes binary, count, levels, real, unit"),
        ("train digits --latent", "--latent needs a value"),
        ("train digits --hidden 3", "there is no option or place for --hidden 3 (did you mean --model.hidden?)"),
        ("inspect bytes.npy --level 15", "there is no option or place for --level 15 (did you mean --levels?)"),
        ("inspect", "DATA is missing: a name, a file or a folder, as `unveil train` takes it"),
        ("evaluate", "RUN is missing: a run folder"),
    ],
)
def test_what_cannot_be_read_is_told_plainly(room, capsys, arguments, line):
    name = arguments.split()[0]
    assert refused(capsys, *arguments.split()) == f"unveil: {line}; unveil {name} --help tells what it takes\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_lines_are_as_plain_where_a_terminal_has_no_boxes(room, encoding):
    command = [sys.executable, "-m", "unveil", "inspect", "bytes.npy", "--level", "15"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    line = "there is no option or place for --level 15 (did you mean --levels?); unveil inspect --help tells what it takes"
    assert done.stderr == f"unveil: {line}\n"


@pytest.mark.parametrize(("given", "shape"), [(["16"], (1, 16, 16)), (["16", "12"], (1, 16, 12))])
def test_one_number_is_a_square(room, capsys, given, shape):
    assert f"x {shape}, stored" in said(capsys, "inspect", "pictures", "--size", *given, code=0).out
    sizes = tuple(map(int, given))
    for size in (sizes, list(sizes), *sizes[: 2 - len(sizes)]):
        assert unveil.load("pictures", size=size).space.shape == shape


def test_sizes_that_no_image_has_are_refused(room, capsys):
    for size, told in (((16, 12, 3), "16 x 12 x 3"), ((0,), "0"), ((16, -1), "16 x -1")):
        with pytest.raises(DataError, match=rf"the size {told}; give height and width as size=\(32, 32\), or one number"):
            unveil.load("pictures", size=size)
    assert "the size 0; give height and width as --size 32 32, or one" in refused(
        capsys, "inspect", "pictures", "--size", "0"
    )
    with pytest.raises(DataError, match="more than"):
        unveil.load("pictures", size=100_000)


def test_the_byte_that_stands_for_white_is_given_at_the_terminal(room, capsys):
    out = said(capsys, "inspect", "bytes.npy", "--levels", "15", code=0).out
    assert out.splitlines()[-1] == "next: unveil train bytes.npy --levels 15"
    said(capsys, "train", "bytes.npy", "--levels", "15", "--measure", "levels", "--epochs", "1", "--out", "run", code=0)
    assert unveil.open("run").load_data().space.levels == 16
    assert "is said to end at 14" in refused(capsys, "inspect", "bytes.npy", "--levels", "14", "--measure", "levels")


def test_little_to_learn_from_is_told_with_what_to_change(room, capsys):
    out = said(capsys, "train", "pictures", "--epochs", "2", "--out", "few", code=0).out
    assert "-> 2 steps in all, of which a model learns hardly anything: give --epochs 100 or more, or a --batch-size" in out
    assert (
        "-> 16 training rows, which a model soon knows by heart: give more of them, or smaller shares by --validation"
        in out
    )
    out = said(capsys, "train", "bytes.npy", "--epochs", "50", "--batch-size", "40", "--out", "many", code=0).out
    assert "->" not in out


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "recipes"])
def test_help_tells_no_default_that_is_nothing_and_brackets_what_may_be_left_out(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert not re.search(r"default:[ │]*(None|False|)[ │]*\)|None\|None,|\{None", said)
    usage = said.partition("usage: ")[2].partition("╭")[0]
    optional = ("encode", "reconstruct", "impute", "evaluate", "score", "report", "explore")
    assert ("[DATA]" in usage) == (command in optional)
    assert command not in ("train", "inspect") or " DATA" in usage
