"""The order in which shards are visited: a function of (seed, epoch), of which any place is found at once."""

import pytest
import torch
from helpers.shards import MAKE, tar_folder

import unveil
from unveil.data import Feed, order, scratch

CPU = torch.device("cpu")


@pytest.fixture(params=MAKE)
def kind(request):
    return request.param


@pytest.fixture
def anew(monkeypatch):
    """There is no room for decoded images on the disk: each is decoded anew."""
    monkeypatch.setattr(scratch, "SHARE", 0)


def test_every_epoch_visits_every_row_once_in_an_order_of_its_own(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(order, "WINDOW", 1)  # so that each block is a window
    MAKE[kind](tmp_path)
    feed = Feed(unveil.load(tmp_path).train, 8, 5, CPU)
    epochs = [torch.cat([feed.positions(12 * epoch + step) for step in range(12)]).tolist() for epoch in range(4)]
    assert all(sorted(epoch) == list(range(96)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4
    other = Feed(feed.split, 8, 6, CPU)
    assert torch.cat([other.positions(step) for step in range(12)]).tolist() != epochs[0]


def test_one_shard_is_shuffled_anew_in_every_epoch(tmp_path):
    tar_folder(tmp_path, shards=1)
    feed = Feed(unveil.load(tmp_path).train, 96, 5, CPU)
    assert len({tuple(feed.positions(epoch).tolist()) for epoch in range(5)}) == 5


def test_rows_are_shuffled_within_windows_of_shuffled_shards(tmp_path, monkeypatch):
    tar_folder(tmp_path, n=240, shards=8)
    store = unveil.load(tmp_path).train.values
    block = torch.bucketize(store.places, store.source.blocks.starts[1:], right=True)
    monkeypatch.setattr(order, "WINDOW", 2 * int(store.source.blocks.sizes.max()))
    first = set()
    for epoch in range(6):
        whole = block[order.Windows(store, 0, epoch)[0 : len(store)]]
        windows = order.Windows(store, 0, epoch).windows
        assert len(windows) == 4
        at = 0
        for start, stop in windows:
            shards = order.Windows(store, 0, epoch).blocks[start:stop]
            rows = whole[at : at + int(torch.isin(block, shards).sum())]
            assert set(rows.tolist()) == set(shards.tolist())
            assert rows.tolist() != rows.sort().values.tolist()  # both shards are mixed: 1 in 10^12 by chance
            at += len(rows)
        first.add(tuple(sorted(order.Windows(store, 0, epoch).blocks[:2].tolist())))
    assert len(first) > 1  # of 28 pairs, six times the same: 1 in 10^7 by chance


@pytest.mark.parametrize("bytes_", [1, 3000, 2**28])
def test_any_stretch_of_an_order_is_found_without_what_comes_before(tmp_path, monkeypatch, bytes_):
    monkeypatch.setattr(order, "WINDOW", bytes_)
    tar_folder(tmp_path, n=240, shards=8)
    store = unveil.load(tmp_path).train.values
    whole = order.Windows(store, 3, 1)[0 : len(store)]
    for start in range(0, len(store), 17):
        assert torch.equal(order.Windows(store, 3, 1)[start : start + 17], whole[start : start + 17])


def test_a_step_reads_its_own_rows_and_no_others(tmp_path, kind, monkeypatch, anew):
    MAKE[kind](tmp_path)
    feed = Feed(unveil.load(tmp_path).train, 16, 5, CPU)
    shelf, asked = type(feed.split.values.source.shelf), []
    blob = shelf.blob
    monkeypatch.setattr(shelf, "blob", lambda self, place: asked.append(place) or blob(self, place))
    feed.batch(1003)
    assert len(asked) == 16
