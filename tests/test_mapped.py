"""Rows that stay in their files: the same data, the same run, and never more of them in memory than is asked for."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import unveil
from unveil.data import Feed, Looks, from_arrays, mapped, store
from unveil.data.ahead import Ahead
from unveil.data.store import Store, chunks
from unveil.doctor import examine_data
from unveil.errors import DataError

CPU = torch.device("cpu")


def rising(shape, kind=np.uint8):
    source = np.random.default_rng(0)
    return source.integers(0, 256, shape).astype(np.uint8) if kind is np.uint8 else source.normal(size=shape).astype(kind)


def both(folder, array, **options):
    """The same file in memory and mapped."""
    np.save(folder / "x.npy", array)
    return unveil.load(folder / "x.npy", **options), unveil.load(folder / "x.npy", mapped=True, **options)


@pytest.fixture
def pair(tmp_path):
    return both(tmp_path, rising((300, 6, 5)))


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (rising((60, 6, 5)), {}),
        (rising((60, 3, 6, 5)), {"measure": "levels"}),
        (rising((60, 6, 5)) // 2, {"measure": "levels", "levels": 127}),
        (rising((60, 6, 5)), {"measure": "unit"}),
        (rising((60, 6, 5)) // 128, {}),
        (rising((60, 7), np.float32), {}),
        (rising((60, 7), np.float64), {}),
        (rising((60, 7), np.dtype(">f4")), {}),
        (np.asfortranarray(rising((60, 7), np.float32)), {}),
        (rising((60, 7)).astype(np.int32), {"measure": "count"}),
    ],
)
def test_a_mapped_file_is_the_same_data(tmp_path, array, options):
    here, there = both(tmp_path, array, **options)
    assert isinstance(there.train.values, Store)
    assert there.fingerprint == here.fingerprint
    assert there.space == here.space
    assert torch.equal(there.train.mean(), here.train.mean())
    assert torch.equal(there.test.fixed(3), here.test.fixed(3))
    assert torch.equal(there.whole().values[:], here.whole().values)
    assert there.origins() == here.origins()


def test_an_array_that_somebody_mapped_stays_mapped(tmp_path):
    array, labels = rising((50, 6, 5)), np.arange(50) % 3
    np.save(tmp_path / "x.npy", array)
    found = unveil.load(np.load(tmp_path / "x.npy", mmap_mode="r"), labels)
    assert isinstance(found.train.values, Store)
    assert found.fingerprint == from_arrays(array, labels).fingerprint


def test_a_file_is_mapped_when_it_is_large(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", rising((50, 6, 5)))
    assert isinstance(unveil.load(tmp_path / "x.npy").train.values, torch.Tensor)
    monkeypatch.setattr(mapped, "SHARE", 1e-9)
    assert isinstance(unveil.load(tmp_path / "x.npy").train.values, Store)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_batches_are_those_of_memory_whoever_reads_them(pair, workers):
    here, there = pair
    expected, found = Feed(here.train, 32, 5, CPU), Feed(there.train, 32, 5, CPU, workers)
    for step in [*range(20), 3, 4, 17, 17]:
        torch.manual_seed(step)
        right = expected.batch(step)
        torch.manual_seed(step)
        batch = found.batch(step)
        assert torch.equal(batch.x, right.x)
        assert torch.equal(batch.index, right.index)
    for right, batch in zip(Looks(here.validation, 7, 1), Looks(there.validation, 7, 1, workers), strict=True):
        assert torch.equal(batch.x, right.x)


def test_rows_lie_in_memory_alike_however_they_lie_in_the_file(tmp_path):
    """Sums over rows that lie otherwise are rounded otherwise."""
    here, there = both(tmp_path, np.asfortranarray(rising((60, 12, 12), np.float32)))
    assert there.train.values[:].stride() == here.train.values.stride()
    assert torch.equal(there.train.mean(), here.train.mean())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_process_of_several_reads_its_own_part_of_each_batch(tmp_path, workers, monkeypatch):
    here, there = both(tmp_path, rising((90, 6, 5)), measure="unit")
    whole, part = Feed(here.train, 21, 0, CPU), Feed(there.train, 21, 0, CPU, workers)
    part.mine = slice(10, 21)
    asked, read = [], type(there.train.values.source).read

    def counted(source, places):
        asked.append(len(places))
        return read(source, places)

    monkeypatch.setattr(type(there.train.values.source), "read", counted)
    for step in range(6):
        for place in (slice(10, 15), slice(15, 21)):  # in two turns
            assert torch.equal(part.batch(step, place).x, whole.batch(step).x[place])
    assert set(asked) == {11}
    assert torch.equal(part.batch(2).x, whole.batch(2).x)  # all of it, where somebody asks


def test_a_run_on_a_mapped_file_is_the_run_on_that_array(tmp_path, pair):
    how = {"epochs": 2, "batch_size": 50, "latent": 2}
    runs = [unveil.train(data, out=tmp_path / name, **how) for name, data in zip(("here", "there"), pair, strict=True)]
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()
    assert runs[0].evaluate(samples=5).nll == runs[1].evaluate(samples=5).nll


def test_rows_are_read_only_when_they_are_asked_for(tmp_path):
    read = []

    class Watched(mapped.Mapped):
        def read(self, places):
            read.append(len(places))
            return super().read(places)

    np.save(tmp_path / "x.npy", rising((300, 6, 5)))
    rows = Store(Watched(np.load(tmp_path / "x.npy", mmap_mode="r"), "x"), torch.arange(300))
    part = rows.take(torch.arange(0, 300, 3))
    assert part.shape == (100, 1, 6, 5)
    assert len(part) == 100
    assert not read
    part[7], part[:5], part[torch.tensor([3, 1])]
    assert read == [1, 5, 2]


def test_whoever_goes_through_all_rows_reads_a_few_at_a_time(pair, monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 7)
    values = pair[1].train.values
    parts = list(chunks(values))
    assert {len(part) for part in parts} == {7, len(values) % 7}
    assert torch.equal(torch.cat(parts), pair[0].train.values)
    assert pair[1].train.digest() == pair[0].train.digest()


def test_all_rows_at_once_are_refused_where_memory_has_no_room(pair, monkeypatch):
    monkeypatch.setattr(store, "ROOM", 1e-9)
    with pytest.raises(DataError, match=r"240 examples of .*x\.npy at once are 0\.0 GB as floats, more than memory"):
        pair[1].train.in_memory()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(7.0), r"shape \(\)"),
        (np.zeros((0, 3)), "no .npy|shape"),
        (np.zeros((5, 3), np.int64), "has type int64; give bytes"),
        (np.array([[0.0, np.nan], [1, 2]]), "1 of 2 rows with entries that are not finite"),
        (np.array([[0.0, 1e300], [1, 2]]), r"holds 1e\+300, and single precision ends at 3.4e38"),
        (np.array([[None, 1]], dtype=object), "it holds objects"),
    ],
)
def test_what_cannot_be_read_is_refused_in_place_too(tmp_path, array, said):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        unveil.load(tmp_path / "x.npy", mapped=True)


STAMPS = 1_700_000_000 + np.arange(300).reshape(150, 2) % 5


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (STAMPS.astype(np.float64), {}, "entry 0, around 1,700,000,004 and 1.4 apart, are hardly told apart"),
        (STAMPS.astype(">f8"), {}, "entry 0, around 1,700,000,004 and 1.4 apart, are hardly told apart"),
        (np.where(np.arange(2), STAMPS, STAMPS % 5).astype(np.float64), {}, "numbers of entry 1, "),
        (1.7e9 + np.arange(140)[:, None] // 7 % 5, {}, "hardly told apart"),  # alike where they are read together
        (np.where(STAMPS % 5 == 0, 2**24 + 1, STAMPS % 5), {"measure": "count"}, "no counts; give whole ones from 0 to"),
        (np.where(STAMPS % 5 == 0, -1, STAMPS % 5), {"measure": "count"}, "no counts"),
    ],
)
def test_numbers_that_single_precision_would_merge_are_refused_in_place_as_in_memory(
    tmp_path, monkeypatch, array, options, said
):
    monkeypatch.setattr(store, "CHUNK", 7)
    np.save(tmp_path / "x.npy", array)
    messages = []
    for more in ({}, {"mapped": True}):
        with pytest.raises(DataError, match=said) as refused:
            unveil.load(tmp_path / "x.npy", **more, **options)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_how_far_numbers_are_apart_is_told_by_all_rows_and_not_by_those_read_together(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 7)
    rows = np.arange(140)[:, None]
    here, there = both(tmp_path, 1.7e9 + 1e6 * (rows // 7) + rows % 7)
    assert torch.equal(there.whole().values[:], here.whole().values)


def test_a_file_that_was_cut_off_and_one_of_another_kind_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", rising((50, 6, 5)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"is no \.npy or \.npz file"):
        unveil.load(tmp_path / "x.npy", mapped=True)
    np.savez(tmp_path / "x.npz", x=rising((50, 6, 5)))
    with pytest.raises(DataError, match=r"x\.npz cannot be mapped: only a \.npy file"):
        unveil.load(tmp_path / "x.npz", mapped=True)


def test_counts_and_levels_are_checked_in_place(tmp_path):
    np.save(tmp_path / "x.npy", rising((50, 7), np.float32))
    with pytest.raises(DataError, match="no counts"):
        unveil.load(tmp_path / "x.npy", mapped=True, measure="count")
    np.save(tmp_path / "y.npy", rising((50, 6, 5)))
    with pytest.raises(DataError, match="said to end at 15"):
        unveil.load(tmp_path / "y.npy", mapped=True, measure="levels", levels=15)


def test_a_folder_too_large_for_memory_is_decoded_when_it_is_asked_for(tmp_path, monkeypatch):
    for place, image in enumerate(rising((40, 6, 5))):
        Image.fromarray(image).save(tmp_path / f"{place:02}.png")
    here = unveil.load(tmp_path)
    monkeypatch.setattr("unveil.data.images.survey.ROOM", 1e-9)
    monkeypatch.setattr("unveil.data.scratch.SHARE", 0)
    there = unveil.load(tmp_path)
    assert isinstance(there.train.values, Store)
    assert there.fingerprint == here.fingerprint
    assert torch.equal(there.train.values[:], here.train.values)
    assert there.notes == here.notes
    (tmp_path / "07.png").write_bytes(b"")
    with pytest.raises(DataError, match="is not what it was when all were looked at"):
        there.whole().values[:]


def test_the_doctor_says_that_it_looked_at_some_rows_only(pair, monkeypatch):
    found = [finding.what for finding in examine_data(pair[1])]
    assert found == [finding.what for finding in examine_data(pair[0])]
    monkeypatch.setattr("unveil.doctor.data.SEEN", 100)
    last = examine_data(pair[1])[-1]
    assert last.evidence == "n = 100 of 240 rows in train"


def test_the_command_line_maps_on_demand(tmp_path):
    np.save(tmp_path / "x.npy", rising((300, 6, 5)))
    said = []
    for more in ([], ["--mapped"]):
        command = [sys.executable, "-m", "unveil", "inspect", "x.npy", *more]
        said.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert said[0].splitlines()[:-1] == said[1].splitlines()[:-1]  # which the last one repeats


def test_things_are_made_ahead_in_a_bounded_number_and_errors_arrive():
    made, lock = [], threading.Lock()

    def make(k):
        with lock:
            made.append(k)
        if k == 9:
            raise DataError("nine")
        return k * k

    ahead = Ahead(make, 2, 100)
    assert [ahead(k) for k in (0, 0, 1)] == [0, 0, 1]
    assert max(made) <= 1 + 4  # two for each thread
    assert ahead(7) == 49
    with pytest.raises(DataError, match="nine"):
        ahead(9)
    assert max(made) <= 9 + 4
