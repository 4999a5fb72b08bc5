"""Files and arrays that are odd or damaged are refused in our words."""

import io
import os
import random
import signal
import tracemalloc
import zipfile
from struct import pack

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import unveil
from unveil.data import from_arrays
from unveil.data.idx import parse
from unveil.errors import DataError


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_whose_channels_come_last_are_refused(channels, kind, tmp_path):
    images = np.zeros((20, 8, 6, channels), kind)
    said = rf"looks like images of 8 x 6 x {channels}; channels come first: transpose to \(N, {channels}, 8, 6\)"
    rows = TensorDataset(torch.from_numpy(images))
    np.save(tmp_path / "x.npy", images)
    for source, more in ((images, {}), (rows, {}), (tmp_path / "x.npy", {"mapped": True})):
        with pytest.raises(DataError, match=said):
            unveil.load(source, **more)
    assert from_arrays(images.transpose(0, 3, 1, 2)).space.shape == (channels, 8, 6)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    signal.alarm(20)  # ends the process, where it would wait for ever
    with pytest.raises(DataError, match=r"x\.npy is no regular file"):
        unveil.load(tmp_path / "x.npy")
    signal.alarm(0)


def member(shape, content=b""):
    """What a .npz file has of an array: a header, and perhaps less than it says."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue() + content


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("unused", member((1 << 40,)), None),
        ("unused", bytes(1 << 25), None),
        ("y", member((1 << 40,)), "'y' has 1,024.0 GB, more than memory has room for"),
        ("y", member((1 << 25,), bytes(1 << 25)), "'y' has 0.0 GB, more than memory"),
    ],
)
def test_only_what_is_used_of_an_archive_is_read_and_only_where_it_has_room(name, content, said, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.hardware.free_memory", lambda: 1 << 25)
    path = tmp_path / "x.npz"
    np.savez(path, x=IMAGES)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content)
    tracemalloc.start()
    if said is None:
        assert len(unveil.load(path).whole()) == 12
    else:
        with pytest.raises(DataError, match=said):
            unveil.load(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
