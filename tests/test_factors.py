"""What each example was made from stays beside it, wherever its row goes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unveil
from unveil.data import Feed, from_arrays
from unveil.errors import DataError

IMAGES = (np.arange(320) % 251).astype(np.uint8).reshape(20, 4, 4)
LABELS = np.arange(20) % 3
FACTORS = np.stack([LABELS, np.arange(20)], 1)
NAMES = ("kind", "row")


@pytest.fixture
def data():
    return from_arrays(IMAGES, LABELS, factors=FACTORS, factor_names=NAMES, ordered=("row",))


def belong(split):
    """Whether every row's factors are those of its source."""
    return torch.equal(split.factors, torch.from_numpy(FACTORS)[split.rows])


def test_factors_go_with_their_rows(data):
    assert (data.factors, data.ordered) == (NAMES, ("row",))
    given = data.given_labels(known=5)
    assert given.factors == NAMES
    for whole in (data, given):
        for name in whole.splits:
            split = whole.split(name)
            assert split.name == name
            assert len(split.factors) == len(split)
            assert belong(split)
            assert belong(split.subset(torch.arange(len(split)).flip(0)))
    few = data.train.sample(5, seed=3)
    assert len(few.factors) == 5
    assert belong(few)


def test_no_batch_carries_them(data):
    batch = Feed(data.train, 4, 0, torch.device("cpu")).batch(0)
    assert not any(
        torch.is_tensor(value) and value.dtype == torch.int64 and value.dim() == 2 for value in vars(batch).values()
    )
    assert len(list(data.test.batches(1, 0))) == 2


@pytest.mark.parametrize(
    ("labels", "fingerprint"),
    [
        (LABELS, "ca7045bd0714c441f215430db329838982c1c95b8f68ba7084d814f853e28966"),
        (None, "9655c40286a43d3670df200d73aa361c8505713a8ee6c29ed5c130ed1083934b"),
    ],
)
def test_data_without_factors_keep_the_fingerprint_that_runs_know_them_by(labels, fingerprint):
    assert from_arrays(IMAGES, labels).fingerprint == fingerprint


def test_the_fingerprint_notices_factors_and_their_names(data):
    other = data.test.factors.clone()
    other[0, 1] += 1
    changed = [
        from_arrays(IMAGES, LABELS),
        replace(data, test=replace(data.test, factors=other)),
        replace(data, factors=("kind", "place"), ordered=("place",)),
        replace(data, ordered=()),
    ]
    assert len({data.fingerprint, *(one.fingerprint for one in changed)}) == 5
    assert (
        from_arrays(IMAGES, LABELS, factors=FACTORS, factor_names=NAMES, ordered=("row",)).fingerprint == data.fingerprint
    )


def test_a_file_brings_its_factors(tmp_path, data):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, y=LABELS, factors=FACTORS, factor_names=NAMES, ordered=["row"])
    loaded = unveil.load(path)
    assert loaded.fingerprint == data.fingerprint
    assert all(belong(loaded.split(name)) for name in loaded.splits)
    np.savez(path, images=IMAGES, factors=FACTORS)
    plain = unveil.load(path)
    assert (plain.factors, plain.ordered) == (("factor 0", "factor 1"), ())
    assert plain.train.labels is None
    np.savez(path, x=IMAGES, factors=FACTORS, factor_names=np.array([{}, None], dtype=object))
    with pytest.raises(DataError, match="plain numbers"):
        unveil.load(path)


@pytest.mark.parametrize(
    ("factors", "names", "ordered", "said"),
    [
        (FACTORS[:-1], None, (), r"20 examples but factors of shape \(19, 2\)"),
        (FACTORS[:, 0], None, (), r"of shape \(20,\)"),
        (FACTORS[:, :0], None, (), r"of shape \(20, 0\)"),
        (FACTORS + 0.5, None, (), "no integers"),
        (np.where(FACTORS, FACTORS, np.nan), None, (), "no integers"),
        (np.full((20, 2), "a"), None, (), "array of numbers"),
        (FACTORS, ("kind",), (), "a name of its own"),
        (FACTORS, ("kind", "kind"), (), "a name of its own"),
        (FACTORS, NAMES, ("rows",), "did you mean 'row'"),
        (None, None, ("row",), "there is no factor 'row'"),
    ],
)
def test_factors_that_contradict_the_data_are_refused(factors, names, ordered, said):
    with pytest.raises(DataError, match=said):
        from_arrays(IMAGES, factors=factors, factor_names=names, ordered=ordered)


def test_whole_numbers_of_any_type_are_factors():
    for kind in (np.uint8, np.int32, np.float64, ">i4"):
        made = from_arrays(IMAGES, factors=FACTORS.astype(kind))
        assert made.train.factors.dtype == torch.int64
        assert belong(made.train)
    assert belong(from_arrays(IMAGES, factors=torch.from_numpy(FACTORS)).validation)
