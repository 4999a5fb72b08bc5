"""Folders of images: what a person would see is what is trained on, and bad files are named and nothing else."""

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unveil
from unveil.cli import main
from unveil.cli.scores import score
from unveil.cli.using import encode
from unveil.data.images import BadImageError, Frame, decode, header, scan
from unveil.data.images.decode import PIXELS
from unveil.doctor import examine_data
from unveil.errors import DataError

GRAY = Frame((4, 6), 1)
MUTATIONS = int(os.environ.get("UNVEIL_MUTATIONS", "1000"))
"""In `./run test`; `./run torture` makes 10,000."""
COLOUR = Frame((4, 6), 3)


def save(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=how.pop("dtype", np.uint8))).save(path, **how)
    return path


def ramp(height=4, width=6):
    return np.linspace(0, 255, height * width).reshape(height, width).round().astype(np.uint8)


def colours():
    return np.stack([ramp(), ramp()[::-1], np.full((4, 6), 77, np.uint8)], 2)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "pgm", "gif"])
def test_bytes_without_loss_come_out_as_they_went_in(tmp_path, ending):
    assert (decode(save(tmp_path / f"x.{ending}", ramp()), GRAY)[0] == ramp()).all()


def test_colours_come_out_as_they_went_in(tmp_path):
    assert (decode(save(tmp_path / "x.png", colours()), COLOUR) == colours().transpose(2, 0, 1)).all()
    assert (decode(save(tmp_path / "y.png", ramp()), COLOUR) == ramp()[None]).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = ramp().astype(np.uint16) * 257
    assert (decode(save(tmp_path / "x.png", deep, dtype=np.uint16), GRAY)[0] == ramp()).all()
    assert (decode(save(tmp_path / "x.tif", deep, dtype=np.uint16), GRAY)[0] == ramp()).all()
    wide = np.full((4, 6), 70_000, np.int32)
    with pytest.raises(BadImageError, match="at most 16 bits"):
        decode(save(tmp_path / "y.tif", wide, dtype=np.int32), GRAY)
    with pytest.raises(BadImageError, match="real numbers"):
        decode(save(tmp_path / "z.tif", ramp(), dtype=np.float32), GRAY)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_that_a_camera_noted_is_applied(tmp_path, turn):
    """The eight ways of EXIF, each undone by hand."""
    upright = np.kron(ramp(), np.ones((8, 8), np.uint8))  # blocks, which JPEG keeps
    undo = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.T, 6: lambda a: np.rot90(a), 7: lambda a: a[::-1, ::-1].T, 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    path = save(tmp_path / "x.jpg", undo[turn](upright), quality=100, exif=exif)
    assert header(path).size == upright.shape
    found = decode(path, Frame(upright.shape, 1))[0].astype(int)
    assert abs(found - upright).max() < 12


def test_what_is_transparent_is_laid_over_the_background_and_its_hidden_colour_is_not_seen(tmp_path):
    clear = np.dstack([colours(), np.where(ramp() < 128, 0, 255).astype(np.uint8)])
    found = decode(save(tmp_path / "x.png", clear), COLOUR)
    assert (found[:, ramp() < 128] == 255).all()
    assert (found[:, ramp() >= 128] == colours()[ramp() >= 128].T).all()
    black = decode(tmp_path / "x.png", Frame((4, 6), 3, background=0))
    assert (black[:, ramp() < 128] == 0).all()
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "p.png", transparency=1)
    found = decode(tmp_path / "p.png", Frame((2, 2), 3))
    assert found[:, 0, 0].tolist() == [10, 20, 30]
    assert found[:, 0, 1].tolist() == [255] * 3
    assert found[:, 1, 0].tolist() == [70, 80, 90]


def test_cmyk_becomes_colours_and_of_an_animation_the_first_frame_is_taken(tmp_path):
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    red = decode(tmp_path / "x.jpg", COLOUR).reshape(3, -1).mean(1)
    assert red[0] > 200
    assert max(red[1:]) < 60
    frames = [Image.new("L", (6, 4), value) for value in (10, 200, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert header(tmp_path / "a.gif").frames == 3
    assert (decode(tmp_path / "a.gif", GRAY) == 10).all()


def test_other_shapes_are_cropped_padded_or_stretched_as_asked(tmp_path):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    path = save(tmp_path / "x.png", wide)
    assert (decode(path, Frame((10, 10), 1)) == 200).all()
    padded = decode(path, Frame((30, 30), 1, "pad", background=7))[0]
    assert (padded[:10] == 7).all()
    assert (padded[20:] == 7).all()
    assert (padded[10:20] == wide).all()
    stretched = decode(path, Frame((10, 15), 1, "stretch"))[0]
    assert stretched[5].tolist() == pytest.approx([0] * 4 + [0, 200, 200, 200, 200, 200, 0] + [0] * 4, abs=60)


def test_a_file_that_claims_too_many_pixels_is_not_decoded(tmp_path):
    side = int(PIXELS**0.5) + 1
    head = f"P5 {side} {side} 255\n".encode()
    (tmp_path / "x.pgm").write_bytes(head + b"\0" * 10)
    for look in (header, lambda path: decode(path, GRAY)):
        with pytest.raises(BadImageError, match="more than 67,108,864"):
            look(tmp_path / "x.pgm")


def test_files_that_are_no_images_are_named_with_the_reason(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (40, 40))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in (
        ("text", "no image"),
        ("empty", "no image"),
        ("cut", "damaged"),
        ("pipe", "no regular"),
        ("gone", "no such"),
    ):
        with pytest.raises(BadImageError, match=reason):
            decode(tmp_path / f"{name}.png", GRAY)


def test_mutated_files_give_the_projects_own_error_or_an_image(tmp_path):
    """Seeded mutations of a PNG, a JPEG, a GIF and a TIFF: other bytes, and cuts."""
    source = random.Random(0)
    made = [
        save(tmp_path / f"x.{ending}", np.random.default_rng(0).integers(0, 255, (24, 24, 3)))
        for ending in ("png", "jpg", "gif", "tif")
    ]
    originals = [path.read_bytes() for path in made]
    refused = 0
    for trial in range(MUTATIONS):
        content = bytearray(originals[trial % 4])
        for _ in range(source.randrange(1, 8)):
            content[source.randrange(len(content))] = source.randrange(256)
        if source.random() < 0.3:
            del content[source.randrange(len(content)) :]
        target = tmp_path / "y.bin"
        target.write_bytes(content)
        try:
            assert decode(target, COLOUR).shape == (3, 4, 6)
        except BadImageError:
            refused += 1
    assert 0.1 * MUTATIONS < refused < MUTATIONS


def test_links_and_loops_are_followed_once_and_nothing_blocks(tmp_path):
    save(tmp_path / "data" / "a" / "one.png", ramp())
    save(tmp_path / "elsewhere" / "two.png", ramp())
    data = tmp_path / "data"
    (data / "b").symlink_to(tmp_path / "elsewhere")
    (data / "again").symlink_to(tmp_path / "elsewhere")
    (data / "a" / "loop").symlink_to(data)
    (data / "a" / "copy.png").symlink_to(data / "a" / "one.png")
    (data / "a" / "self.png").symlink_to(data / "a" / "self.png")
    os.link(data / "a" / "one.png", data / "a" / "hard.png")  # a file of its own by all that can be seen
    os.mkfifo(data / "a" / "pipe.png")
    (data / "a" / ".hidden.png").write_bytes(b"")
    (data / "a" / "notes.txt").write_text("x")
    found = scan(data)
    assert [str(path) for path in found.files] == ["a/hard.png", "a/one.png", "again/two.png"]
    assert [str(path) for path, _ in found.bad] == ["a/pipe.png", "a/self.png"]
    assert found.others == 1


@pytest.fixture
def folder(tmp_path):
    source = np.random.default_rng(0)
    for kind, bright in (("dark", 60), ("light", 220)):
        for place in range(30):
            save(tmp_path / "data" / kind / f"{place:02}.png", source.integers(bright - 40, bright + 30, (9, 8, 3)))
    return tmp_path / "data"


def test_a_folder_of_classes_becomes_a_dataset(folder):
    data = unveil.load(folder)
    assert data.classes == ("dark", "light")
    assert data.space.shape == (3, 9, 8)
    assert data.space.measure == "levels"
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 6, 6)
    for name in data.splits:
        part = data.split(name)
        assert torch.equal(part.values.float().mean((1, 2, 3)) > 128, part.labels == 1)
    assert data.notes == ("2 classes by sub-folder: dark, light",)
    first = decode(folder / "dark" / "00.png", Frame((9, 8), 3))
    assert (data.whole().values[0].numpy() == first).all()


def test_the_same_folder_gives_the_same_fingerprint_and_a_changed_one_another(folder):
    before = unveil.load(folder).fingerprint
    assert unveil.load(folder).fingerprint == before
    save(folder / "dark" / "00.png", np.zeros((9, 8, 3)))
    assert unveil.load(folder).fingerprint != before


def test_bad_files_are_left_out_and_named_or_refused_as_asked(folder):
    (folder / "dark" / "05.png").write_bytes(b"junk")
    whole = (folder / "light" / "07.png").read_bytes()
    (folder / "light" / "07.png").write_bytes(whole[:-60])
    data = unveil.load(folder)
    assert sum(len(data.split(name)) for name in data.splits) == 58
    assert [path for path, _ in data.bad] == [str(Path("dark") / "05.png"), str(Path("light") / "07.png")]
    assert not any("bad" in note for note in data.notes)  # whoever prints them has `bad`
    with pytest.raises(DataError, match="bad files of 60: dark"):
        unveil.load(folder, bad_files="stop")


def test_mixed_sizes_colours_and_given_splits(tmp_path):
    for place in range(12):
        save(tmp_path / "train" / f"{place}.png", np.full((5 + place, 9), 250 * (place % 2)))
        save(tmp_path / "test" / f"{place}.png", np.full((5, 9), 250))
    data = unveil.load(tmp_path)
    assert data.space.shape == (1, 32, 32)
    assert data.space.measure == "binary"
    assert (len(data.train), len(data.validation), len(data.test)) == (11, 1, 12)
    assert any("typically" in note for note in data.notes)
    assert unveil.load(tmp_path, size=(8, 6), channels=3, measure="unit").space.shape == (3, 8, 6)
    with pytest.raises(DataError, match="not as 'real'"):
        unveil.load(tmp_path, measure="real")
    with pytest.raises(DataError, match="channels"):
        unveil.load(tmp_path, channels=2)
    with pytest.raises(DataError, match="did you mean size"):
        unveil.load(tmp_path, sizes=(3, 3))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        unveil.load(tmp_path / "nothing")


def test_bad_files_are_named_once_all_by_inspect_and_the_first_three_elsewhere(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        (folder / "dark" / f"bad{number}.png").write_bytes(b"junk")
    small = ["--epochs", "1", "--model.hidden", "8", "--latent", "2", "--size", "8", "8", "--channels", "1", "--out", "run"]
    for command, named in (
        (["inspect", str(folder)], 5),
        (["doctor", str(folder)], 3),
        (["train", str(folder), *small], 3),
    ):
        main(command)
        out = capsys.readouterr().out
        assert "  bad files, left out: 5\n    dark/bad0.png: it is no image" in out
        assert [out.count(f"bad{number}.png") for number in range(5)] == [1] * named + [0] * (5 - named)
        assert ("and 2 more, which unveil inspect lists" in out) == (named < 5)


def test_archives_are_named_with_what_to_do(folder, tmp_path, capsys):
    for name in ("a.tar.gz", "dark/b.tgz", "c.tar", "d.TAR.zst", "notes.txt"):
        (folder / name).write_bytes(b"what is in it does not matter")
    notes = unveil.load(folder).notes
    said = "archives, left alone: a.tar.gz, c.tar, d.TAR.zst and 1 more; unpack them to have their images too"
    assert said in notes
    assert "left alone, since their names are of other kinds: 1 file" in notes
    for command in (["inspect", str(folder), "--out", str(tmp_path / "i.png")], ["doctor", str(folder)]):
        main(command)
        assert capsys.readouterr().out.count(said) == 1
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "train-000.tar.gz").write_bytes(b"packed")
    with pytest.raises(
        DataError, match=r"holds no images but those in archives \(train-000\.tar\.gz\); unpack them there, or"
    ):
        unveil.load(alone)
    with pytest.raises(DataError, match=r"train-000\.tar\.gz is an archive, which is not looked into; unpack it"):
        unveil.load(alone / "train-000.tar.gz")


def unveiled(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "unveil", *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


def test_a_folder_trains_evaluates_and_is_inspected_from_the_terminal(folder, tmp_path):
    (folder / "dark" / "05.png").write_bytes(b"junk")
    looked = unveiled("inspect", folder, cwd=tmp_path)
    assert looked.returncode == 0, looked.stderr
    assert "  bad files, left out: 1\n    dark/05.png: it is no image" in looked.stdout
    assert looked.stdout.count("05.png") == 1
    assert "labels dark 2" in looked.stdout
    assert (tmp_path / "inspect.png").is_file()
    doctored = unveiled("doctor", folder, cwd=tmp_path)
    assert doctored.returncode in (0, 1), doctored.stderr
    assert "bad files, left out: 1\n    dark/05.png: it is no image" in doctored.stdout
    small = ("--epochs", "2", "--model.hidden", "8", "--latent", "2", "--size", "8", "8", "--channels", "1")
    trained = unveiled("train", folder, *small, "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "bad files, left out: 1\n    dark/05.png: it is no image" in trained.stdout
    scored = unveiled("evaluate", "run", "--samples", "5", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert "bits per dimension" in scored.stdout
    other = unveiled("score", "run", folder, "--out", "s.csv", "--samples", "5", "--fpr", "0.5", cwd=tmp_path)
    assert other.returncode == 0, other.stderr  # other data are brought to the shape of the run
    refused = unveiled("train", folder, "--bad-files", "stop", cwd=tmp_path)
    assert refused.returncode == 2
    assert "dark/05.png: it is no image" in refused.stderr
    save(folder / "dark" / "00.png", np.zeros((9, 8, 3)))
    changed = unveiled("evaluate", "run", "--samples", "5", cwd=tmp_path)
    assert changed.returncode == 2
    assert "is not what this run was trained on" in changed.stderr


def test_rows_are_told_by_their_files(tmp_path, capsys):
    source = np.random.default_rng(0)
    for number in range(40):
        save(tmp_path / "data" / "ab"[number % 2] / f"i{number:02}.png", source.integers(0, 256, (6, 6)))
    for one in ("a/blank.png", "b/empty.png"):
        save(tmp_path / "data" / one, np.full((6, 6), 200))
    data = unveil.load(tmp_path / "data", size=(6, 6))
    whole = data.whole()
    assert whole.files[:2] == ("a/blank.png", "a/i00.png")
    for name in data.splits:
        split = data.split(name)
        assert [whole.files[row] for row in split.rows.tolist()] == list(split.files)
        for row, file in enumerate(split.files):
            assert (split.values[row, 0].numpy() == np.asarray(Image.open(tmp_path / "data" / file))).all()
    found = [one for one in examine_data(data) if "blank" in one.what]
    assert len(found) == 1
    for file in ("a/blank.png", "b/empty.png"):
        assert file in found[0].evidence
    run = unveil.train(data, "vae", out=tmp_path / "run", epochs=1, latent=2)
    assert encode([str(run.path), str(tmp_path / "data"), "--split", "validation", "--out", str(tmp_path / "z.npz")]) == 0
    with np.load(tmp_path / "z.npz") as arrays:
        assert arrays["files"].tolist() == [whole.files[row] for row in arrays["index"].tolist()]
    scored = tmp_path / "s.csv"
    given = ["--fpr", "0.3", "--samples", "2", "--out", str(scored)]
    assert score([str(run.path), str(tmp_path / "data"), *given]) == 0
    with scored.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == list(whole.files)
    assert list(rows[0])[:3] == ["split", "file", "row"]
    assert "file" in capsys.readouterr().out


def test_a_folder_is_brought_to_the_shape_of_any_run_of_images(folder, tmp_path):
    done = unveiled(
        "train", "digits", "--epochs", "2", "--model.hidden", "8", "--latent", "2", "--out", "run", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    whole = unveiled("evaluate", "run", folder, "--samples", "2", "--split", "all", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert "all split" in whole.stdout
    np.save(tmp_path / "wide.npy", np.zeros((20, 5, 7), np.uint8))
    refused = unveiled("evaluate", "run", "wide.npy", cwd=tmp_path)
    assert refused.returncode == 2
    assert "reads x of shape (1, 8, 8), and" in refused.stderr
    assert "tensor" not in refused.stderr


def test_one_image_or_shard_is_refused_with_its_folder(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name in ("photo.PNG", "s.tar"):
        (tmp_path / name).write_bytes(b"x")
    for name, cells in {"a.parquet": [b"x"], "b.parquet": [{"bytes": b"x", "path": "y"}]}.items():
        parquet.write_table(pyarrow.table({"image": cells}), tmp_path / name)
    for path in tmp_path.iterdir():
        with pytest.raises(DataError, match=f"give the folder that it lies in, {tmp_path}"):
            unveil.load(path)
