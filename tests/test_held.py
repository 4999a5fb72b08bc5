"""What is held out where somebody asks: shares of the rows, and files or folders of their own."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import unveil
from unveil.errors import DataError


def rows(*splits):
    return sorted(row for split in splits for row in split.rows.tolist())


@pytest.fixture
def array(tmp_path):
    source = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=source.normal(size=(200, 3)).astype(np.float32), y=source.integers(0, 3, 200))
    return tmp_path / "x.npz"


def test_shares_are_those_asked_for_and_the_same_in_every_run(array):
    usual, asked = unveil.load(array), unveil.load(array, validation=0.25, test="0.1")
    assert [len(asked.split(name)) for name in asked.splits] == [130, 50, 20]
    assert rows(asked.train, asked.validation, asked.test) == list(range(200))
    assert asked.fingerprint == unveil.load(array, validation=0.25, test=0.1).fingerprint != usual.fingerprint
    x = np.load(array)["x"]
    for name in asked.splits:
        split = asked.split(name)
        assert split.name == name
        assert np.array_equal(split.values.numpy(), x[split.rows.numpy()])


def test_what_is_not_asked_about_stays(array):
    usual, asked = unveil.load(array), unveil.load(array, validation=0.5)
    assert rows(asked.test) == rows(usual.test)
    assert len(asked.validation) == 100
    assert not set(rows(asked.validation)) & set(rows(asked.train))


def test_a_source_of_its_own_is_all_of_a_split_and_nothing_is_taken_from_train(array, tmp_path):
    other = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)
    np.savez(tmp_path / "other.npz", x=other, y=np.arange(30) % 3)
    asked = unveil.load(array, test=str(tmp_path / "other.npz"), validation=0.1)
    assert [len(asked.split(name)) for name in asked.splits] == [180, 20, 30]
    assert rows(asked.train, asked.validation) == list(range(200))
    assert np.array_equal(asked.test.values.numpy(), other)
    assert asked.options["test"] == str(tmp_path / "other.npz")


def test_a_folder_of_few_classes_has_the_numbers_of_all(tmp_path):
    for place, names in (("all", ("ant", "bee", "cat")), ("held", ("bee", "cat"))):
        for name in names:
            (tmp_path / place / name).mkdir(parents=True)
            for number in range(8):
                pixels = np.full((4, 4), 10 * number + len(place), np.uint8)
                Image.fromarray(pixels).save(tmp_path / place / name / f"{number}.png")
    found = unveil.load(tmp_path / "all", test=str(tmp_path / "held"))
    assert found.classes == ("ant", "bee", "cat")
    assert found.test.labels.unique().tolist() == [1, 2]
    with pytest.raises(DataError, match=r"has the class 'ant', which .* does not have"):
        unveil.load(tmp_path / "held", validation=str(tmp_path / "all"))


def test_a_table_is_read_in_the_columns_and_classes_of_the_first(tmp_path):
    lines = (f"{i / 7:.3f},{'abc'[i % 3]},{'uv'[i % 2]}\n" for i in range(60))
    (tmp_path / "a.csv").write_text("x,kind,y\n" + "".join(lines))
    (tmp_path / "b.csv").write_text("kind,x,y\n" + "".join(f"c,{i / 3:.3f},v\n" for i in range(9)))
    found = unveil.load(tmp_path / "a.csv", label="y", test=str(tmp_path / "b.csv"))
    kind = [field.name for field in found.columns].index("kind")
    assert found.test.values[:, kind].unique().tolist() == [2.0]
    assert found.test.labels.unique().tolist() == [1]
    assert [len(found.split(name)) for name in found.splits] == [54, 6, 9]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"test": 1.5}, "test cannot be 1.5 of the rows; give a share between 0 and 1"),
        ({"validation": "nan"}, "validation cannot be nan of the rows"),
        ({"validation": 0.6, "test": 0.5}, "0.6 and 0.5 of the rows leave none to train on"),
        ({"test": "nowhere.npy"}, "no file"),
        ({"test": "digits"}, "not as 'real'"),
    ],
)
def test_what_cannot_be_held_out_is_refused(asked, said, array):
    with pytest.raises(DataError, match=said):
        unveil.load(array, **asked)


def test_data_with_a_test_split_of_their_own_keep_it():
    with pytest.raises(DataError, match="digits cannot take test"):
        unveil.load("digits", test=0.5)


def test_a_run_finds_its_splits_again_and_others_are_read_without(array, tmp_path):
    run = unveil.train(unveil.load(array, validation=0.3), "vae", out=tmp_path / "run", epochs=1, latent=2)
    again = unveil.open(tmp_path / "run")
    assert again.load_data().fingerprint == run.load_data().fingerprint
    np.save(tmp_path / "few.npy", np.zeros((40, 3), np.float32))
    command = [sys.executable, "-m", "unveil", "evaluate", "run", "few.npy", "--split", "validation", "--samples", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(n = 4)" in done.stdout
    command = [sys.executable, "-m", "unveil", "inspect", str(array), "--test", "0.5", "--validation", "0.2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "60 train, 40 validation, 100 test" in done.stdout
    assert torch.equal(run.model.sample(2, seed=0), again.model.sample(2, seed=0))
