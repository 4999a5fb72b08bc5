"""What data are said to be: how they are read, when that is refused, and which likelihood it takes."""

from typing import get_args

import numpy as np
import pytest
import torch
from cases.likelihoods import KINDS, images, numbers
from helpers.likelihoods import draw_of

from unveil.data import MEANING, Measure, from_arrays
from unveil.errors import DataError, SettingError
from unveil.parts import Laplace, likelihood_for
from unveil.preflight import check


@pytest.mark.parametrize("measure", get_args(Measure))
def test_every_measure_has_a_meaning_and_a_likelihood(measure):
    assert measure in MEANING
    assert measure in likelihood_for(measure, 1, 17, KINDS).measures


def test_bytes_and_integers_are_read_as_levels_and_counts():
    gray = images("levels")()
    assert gray.space.measure == gray.train.reading.measure == "levels"
    assert (gray.space.levels, gray.space.white, gray.space.is_image) == (256, 255.0, True)
    x = gray.train.fixed(0)
    assert x.dtype == torch.float32
    assert x.max() == gray.train.values.max() > 200
    counts = numbers("count")()
    assert counts.space.measure == "count"
    assert not counts.space.is_image
    assert from_arrays(np.ones((10, 3), np.uint8), measure="count").space.measure == "count"
    table = numbers("columns", KINDS)()
    assert table.space.columns == KINDS
    assert "2 ordinal" in str(table.space)


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        (np.ones((10, 3), int), {}, "measure='count'"),
        (-np.ones((10, 3), int), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 0.5), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 2**25), {"measure": "count"}, "no counts"),
        (np.full((10, 3), 20, np.uint8), {"measure": "levels", "levels": 16}, "said to end at 16"),
        (np.ones((10, 3)), {"measure": "levels"}, "real numbers"),
        (np.ones((10, 2)), {"columns": ("real",)}, "named: 1 column, so give"),
        (np.zeros((10, 2)), {"columns": ("real", "positive")}, "column 1 that are not positive"),
        (np.full((10, 1), 3), {"columns": ("ordinal:3",)}, "not ordinal:3"),
        (np.full((10, 1), 0.5), {"columns": ("categorical:3",)}, "not categorical:3"),
    ],
)
def test_data_that_are_not_what_they_are_said_to_be_are_refused(values, settings, message):
    with pytest.raises(DataError, match=message):
        from_arrays(values, **settings)


def test_a_likelihood_for_another_measure_is_refused():
    model, _ = draw_of(Laplace(), torch.randn(5, 4))
    with pytest.raises(SettingError, match="'real' data"):
        check(model, from_arrays(np.ones((50, 4), int), measure="count"))
