"""What is read is what was there, and nothing that is wrong gets through."""

import gzip
import struct
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unveil
from unveil.data import Binarise, Feed, Gray, LinearGaussian, from_arrays
from unveil.data import mnist as source
from unveil.data.facts import facts_of
from unveil.data.idx import parse, read_bytes
from unveil.data.load import load_like
from unveil.data.splitting import carve
from unveil.errors import DataError, SettingError


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def test_idx_files_are_read_as_they_are():
    assert (parse(idx(IMAGES), "x", 3) == IMAGES).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with nothing"),
        (b"<html></html>", "no IDX file"),
        (idx(IMAGES)[:-1], "holds 23"),
        (idx(IMAGES) + b"\0", "holds 25"),
        (idx(np.zeros(3, np.uint8)), "swapped"),
        (b"\0\0\x0d\x03" + idx(IMAGES)[4:], "type 0x0d"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1), "announces"),
    ],
)
def test_idx_files_that_lie_are_refused(content, said):
    with pytest.raises(DataError, match=said):
        parse(content, "x", 3)


@given(st.binary(max_size=64), st.integers(0, 39), st.integers(0, 255))
def test_no_bytes_raise_anything_but_our_own_error(noise, place, value):
    flipped = bytearray(idx(IMAGES))
    flipped[place] = value
    for content in (noise, bytes(flipped)):
        with suppress(DataError):
            assert parse(content, "x", 3).dtype == np.uint8


def test_archives_that_are_damaged_or_expand_without_end_are_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(DataError, match="more than the 1,000 bytes"):
        read_bytes(path, 1_000)
    path.write_bytes(gzip.compress(bytes(1_000))[:-10])
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(path, 1_000)


def test_mnist_keeps_its_test_split_and_carves_validation_from_training(mnist):
    assert [len(mnist.split(name)) for name in mnist.splits] == [55_000, 5_000, 10_000]
    rows = torch.cat([mnist.train.rows, mnist.validation.rows])
    assert (rows.sort().values == torch.arange(60_000)).all()
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]  # the first of the real test images
    assert str(mnist.space) == "1x28x28, 0 or 1, counted"


@pytest.fixture
def small_mnist(monkeypatch):
    """Four small files in MNIST's place, with digests of their own; gives their packed bytes by name."""
    generator = np.random.default_rng(0)
    contents, files = {}, {}
    for part, file in source.FILES.items():
        count = 100 if "train" in part else 20
        array = generator.integers(0, 10, (count, 28, 28) if file.dims == 3 else count).astype(np.uint8)
        content = idx(array)
        files[part] = replace(file, size=len(content), sha256=source.hashlib.sha256(content).hexdigest())
        contents[file.name + ".gz"] = gzip.compress(content)
    monkeypatch.setattr(source, "FILES", files)
    return contents


@pytest.fixture
def server(monkeypatch):
    """A mirror on this machine; gives the table of what it answers."""
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers.get(self.path.strip("/"))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setattr(source, "MIRRORS", (f"http://127.0.0.1:{http.server_port}/",))
    yield answers
    http.shutdown()


def test_mnist_is_fetched_once_and_checked(small_mnist, server, tmp_path):
    server.update(small_mnist)
    first = unveil.load("mnist", data_dir=tmp_path)
    assert len(first.test) == 20
    assert {path.name for path in (tmp_path / "mnist").iterdir()} == set(small_mnist)
    server.clear()
    assert unveil.load("mnist", data_dir=tmp_path).fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"<html>sorry</html>", lambda b: gzip.compress(b"x" * 99)])
def test_a_bad_byte_never_enters_the_folder(damage, small_mnist, server, tmp_path):
    server.update(small_mnist)
    name = "t10k-images-idx3-ubyte.gz"
    server[name] = damage(small_mnist[name])
    with pytest.raises(DataError, match=r"could not be fetched; tried http://127.0.0.1"):
        unveil.load("mnist", data_dir=tmp_path)
    assert name not in {path.name for path in (tmp_path / "mnist").iterdir()}
    assert not [path for path in (tmp_path / "mnist").iterdir() if path.name.startswith(".")]


def test_a_local_file_that_is_no_mnist_is_named(small_mnist, tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((100, 28, 28), np.uint8)))
    with pytest.raises(DataError, match="train-images-idx3-ubyte is not MNIST's"):
        unveil.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [
        (np.zeros((10, 4, 4), np.uint8), np.zeros(9, int), r"10 images but labels of shape \(9,\)"),
        (np.full((10, 3), np.nan), None, "10 of 10 rows"),
        (np.array([{}, {}]), None, "array of numbers"),
        (np.zeros(5), None, "one example per row"),
        (np.zeros((0, 3)), None, "at least one"),
        (np.zeros((2, 3)), None, "2 examples cannot be parted for training, validation and test; give at least 3"),
        (np.zeros((10, 3), int), None, "bytes"),
        (np.zeros((10, 3)), np.full(10, 0.5), "no integers"),
    ],
)
def test_arrays_that_contradict_themselves_are_refused(values, labels, said):
    with pytest.raises(DataError, match=said):
        from_arrays(values, labels)


def test_pickled_objects_are_refused_and_never_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"no \.npy or \.npz file of plain numbers"):
        unveil.load(tmp_path / "x.npz")


def test_binarisation_has_the_probability_it_states():
    values = torch.tensor([0, 1, 7, 128, 254, 255], dtype=torch.uint8).repeat(100_000, 1)
    x = Binarise()(values, torch.Generator().manual_seed(0))
    p = values[0] / 255
    z = (x.mean(0) - p) / (p * (1 - p) / 100_000).sqrt().clamp(min=1e-12)
    assert z.abs().max() < 4.5
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(Gray()(values), values / 255)


@pytest.mark.parametrize("reading", [Binarise(1), Gray(4)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.uint8])
def test_a_reading_leaves_what_it_is_given_as_it_was(reading, kind):
    values = torch.tensor([[0, 1, 2, 4]], dtype=kind)
    reading(values), reading.mean(values)
    assert values.tolist() == [[0, 1, 2, 4]]


def test_pixels_are_binarised_independently():
    x = Binarise()(torch.full((50_000, 8), 128, dtype=torch.uint8), torch.Generator().manual_seed(1))
    correlation = torch.corrcoef(x.T) - torch.eye(8)
    assert correlation.abs().max() < 4.5 / 50_000**0.5


def test_a_fixed_reading_depends_on_seed_and_row_alone(tiny):
    whole = tiny.test.fixed(3)
    some = torch.tensor([5, 2, 11])
    assert torch.equal(tiny.test.subset(some).fixed(3), whole[some])
    assert torch.equal(torch.cat([batch.x for batch in tiny.test.batches(7, 3)]), whole)
    assert not torch.equal(tiny.test.fixed(4), whole)


def test_splits_are_disjoint_whole_and_the_same_in_every_run():
    parts = carve(1_000, 0.1, 0.2)
    assert [len(part) for part in parts] == [100, 200, 700]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(1_000))
    assert all(torch.equal(a, b) for a, b in zip(parts, carve(1_000, 0.1, 0.2), strict=True))


def test_training_batches_depend_only_on_seed_and_step(tiny):
    def batches(steps, seed=0):
        feed = Feed(tiny.train, 32, seed, torch.device("cpu"))
        found = {}
        for step in steps:
            torch.manual_seed(step)
            found[step] = feed.batch(step)
        return found

    forward, backward = batches(range(20)), batches(reversed(range(20)))
    assert all(torch.equal(forward[step].x, backward[step].x) for step in range(20))
    assert all(torch.equal(forward[step].index, backward[step].index) for step in range(20))
    feed = Feed(tiny.train, 30, 0, torch.device("cpu"))
    steps = range(2 * feed.steps_per_epoch)
    epochs = torch.cat([feed.positions(step) for step in steps]).chunk(2)
    assert all(torch.equal(epoch.sort().values, torch.arange(240)) for epoch in epochs)
    assert not torch.equal(*epochs)
    assert not torch.equal(forward[0].index, batches([0], seed=1)[0].index)


def test_other_bytes_are_read_on_the_scale_of_the_first(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(600).astype(np.uint8).reshape(20, 6, 5))
    np.save(tmp_path / "dark.npy", np.ones((20, 6, 5), np.uint8))
    found = unveil.load(tmp_path / "x.npy")
    assert found.options == {"levels": 255}
    assert unveil.load(tmp_path / "dark.npy").train.mean().max() == 1
    dark = load_like(tmp_path / "dark.npy", facts_of(found))
    assert dark.train.mean().max() == pytest.approx(1 / 255)


def test_labels_that_no_training_row_has_are_warned_of(caplog):
    data = from_arrays(torch.randn(40, 3), torch.arange(40) % 3)
    data.test.labels[0] = 5
    data.given_labels()
    assert "labels that no training row has, of which the model learns nothing: [5]" in caplog.text


def test_the_fingerprint_notices_what_the_numbers_mean(tmp_path):
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 6, 5)
    np.save(tmp_path / "x.npy", pixels // 3)
    read = [
        unveil.load(tmp_path / "x.npy", **options).fingerprint
        for options in ({"levels": 100}, {"levels": 255}, {"levels": 100, "measure": "levels"}, {"measure": "levels"})
    ]
    tables = []
    for number, (head, words) in enumerate([("x,c,y", "ab"), ("x,c,y", "no"), ("x,d,y", "ab"), ("x,c,y", "ab")]):
        lines = (f"{i / 7:.3f},{words[i % 2]},{'uvw'[i % 3] if number < 3 else 'pqr'[i % 3]}\n" for i in range(60))
        (tmp_path / f"{number}.csv").write_text(f"{head}\n" + "".join(lines))
        tables.append(unveil.load(tmp_path / f"{number}.csv", label="y").fingerprint)
    assert len(set(read + tables)) == 8


def test_the_fingerprint_notices_one_byte(tiny):
    values = tiny.test.values.clone()
    values[3, 0, 2, 1] ^= 1
    other = replace(tiny, test=replace(tiny.test, values=values))
    assert other.fingerprint != tiny.fingerprint
    assert replace(tiny, name="other").fingerprint == tiny.fingerprint


def test_generated_data_have_the_moments_they_state():
    truth = LinearGaussian.draw(4, 2)
    x = truth.sample(100_000).double()
    z = (x.mean(0) - truth.bias) / (x.std(0) / 100_000**0.5)
    assert z.abs().max() < 4.5
    assert torch.allclose(torch.cov(x.T), truth.marginal.covariance_matrix, atol=0.03)
    with pytest.raises(SettingError):
        LinearGaussian.draw(4, 0)


def test_unknown_names_propose_the_nearest():
    with pytest.raises(DataError, match="did you mean 'digits'"):
        unveil.load("digit")
    with pytest.raises(DataError, match="'binary'"):
        unveil.load("digits", measure="binari")
    with pytest.raises(DataError, match="there is no split 'tset'"):
        unveil.load("digits").split("tset")
