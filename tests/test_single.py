"""What arrays hold is checked in the type they come in: nothing is rounded into something else without a word."""

import re

import numpy as np
import pytest
import torch

from unveil.data import from_arrays
from unveil.data.single import Looked
from unveil.errors import DataError

STAMPS = 1_700_000_000 + np.arange(60).reshape(30, 2) % 5
OFTEN = np.arange(60.0).reshape(30, 2)


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        (STAMPS.astype(np.float64), {}, "entry 0, around 1,700,000,00. and .* hardly told apart .*; subtract a constant"),
        (torch.from_numpy(STAMPS.astype(np.float64)), {}, "hardly told apart"),
        (STAMPS, {"columns": ["real", "real"]}, "hardly told apart"),
        (STAMPS * 10**9, {"columns": ["real", "real"]}, "hardly told apart"),
        (OFTEN + 1e-9, {"measure": "count"}, "no counts"),
        (np.full((30, 2), 2**24 + 1), {"measure": "count"}, "no counts"),
        (OFTEN % 2 + 1e-9, {"columns": ["categorical:2", "real"]}, "30 entries in column 0 that are not categorical"),
        (np.full((30, 2), 2**24 + 1), {"columns": ["count", "count"]}, "30 entries in column 0 that are not count"),
        (np.where(OFTEN == 3, 1e300, OFTEN), {}, r"holds 1e\+300, and single precision ends at 3.4e38"),
        (np.ma.masked_equal(OFTEN, 3), {}, "entries that are masked; remove or fill them"),
    ],
)
def test_what_single_precision_would_change_is_refused(values, more, said):
    with pytest.raises(DataError, match=said):
        from_arrays(values, **more)


@pytest.mark.parametrize(
    "values",
    [
        1.7e9 + 128 * (STAMPS % 5),
        np.full((30, 2), 0.1),
        1e3 + OFTEN / 7,
        np.where(OFTEN % 4 < 2, 0.3, 0.1 + 0.2),
    ],
    ids=["exact", "constant", "apart", "rounding"],
)
def test_what_it_holds_is_taken(values):
    assert len(from_arrays(values).whole()) == 30


@pytest.mark.parametrize("values", [STAMPS[::-1], STAMPS[::-1] * 10**9, -STAMPS, STAMPS * 1e3, STAMPS + 0.25])
def test_rows_that_come_some_at_a_time_are_told_of_alike(values):
    """The first of them are not the least: differences of whole numbers have either sign."""
    messages = []
    for step in (30, 7, 1):
        looked = Looked("x")
        for first in range(0, 30, step):
            looked.at(values[first : first + step])
        with pytest.raises(DataError, match="hardly told apart") as refused:
            looked.settle()
        messages.append(str(refused.value))
    assert len(set(messages)) == 1


def test_what_is_masked_in_a_column_is_not_known():
    found = from_arrays(np.ma.masked_equal(OFTEN, 3), columns=["real", "real"]).whole().values
    assert found.isnan().sum() == 1


@pytest.mark.parametrize("label", [1e19, 1e300, np.uint64(2**64 - 1), 0.5])
def test_labels_are_whole_and_within_64_bits(label):
    with pytest.raises(DataError, match=re.escape(f"no integers, or beyond 64 bits, as {label!s}")):
        from_arrays(OFTEN, labels=np.full(30, label))


def test_labels_that_64_bits_hold_are_kept():
    marks = np.full(30, 2**63 - 1, np.uint64)
    assert from_arrays(OFTEN, labels=marks).whole().labels.tolist() == [2**63 - 1] * 30
