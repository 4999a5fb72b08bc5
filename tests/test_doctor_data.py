"""What the doctor says of data: nothing of clean ones, and of each planted ailment that and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.doctor import changed, linear_data, only, said

from unveil.data import from_arrays
from unveil.doctor import examine_data

SOURCE = np.random.default_rng(0)


def images(n=1_000, labels=None):
    return from_arrays(SOURCE.integers(0, 256, (n, 8, 8), dtype=np.uint8), labels)


def reals(n=1_000):
    return from_arrays(SOURCE.normal(size=(n, 6)).astype("f4"))


def pairs(n=1_000):
    return from_arrays(SOURCE.normal(size=(n, 2)).astype("f4"))


def counts(n=1_000, most=30):
    return from_arrays(SOURCE.integers(0, most, (n, 20)), measure="count")


def table(n=1_000):
    """Four columns: a real, a positive, one of three classes, and a count."""
    columns = [SOURCE.normal(size=n), SOURCE.lognormal(size=n), SOURCE.integers(0, 3, n), SOURCE.poisson(2, n)]
    return from_arrays(np.stack(columns, 1), columns=["real", "positive", "categorical:3", "count"])


@pytest.mark.parametrize("data", [images(), reals(), counts(), table(), linear_data()], ids=lambda data: data.space.measure)
def test_clean_data_have_nothing_wrong(data):
    assert said(examine_data(data)) == []


def test_nothing_is_wrong_with_digits_or_tiny_images(digits, tiny):
    assert said(examine_data(digits)) == []
    assert said(examine_data(tiny)) == []


def test_files_that_cannot_be_read_are_found():
    data = replace(images(), bad=(("a.png", "it is empty"),))
    finding = only(examine_data(data), "doubtful", "what cannot be read is left out: 1 file")
    assert "n = 1,000 examples are read beside" in finding.evidence


def test_nothing_is_wrong_with_mnist(mnist):
    assert said(examine_data(mnist)) == []


def test_rows_that_are_not_finite_are_named():
    data = reals()
    data.train.values[[3, 8], 2] = torch.nan
    finding = only(examine_data(data), "wrong", "train split has rows that are not finite")
    assert f"rows {data.train.rows[3]}, {data.train.rows[8]} of the source" in finding.evidence


def test_constant_columns_are_doubtful():
    data = reals()
    data.train.values[:, 4] = 1.5
    finding = only(examine_data(data), "doubtful", "1 of 6 entries are the same in every training example")
    assert "entries 4," in finding.evidence
    assert "1 of them are not constant in the other splits" in finding.evidence


def test_a_wide_margin_is_a_note_and_a_narrow_one_nothing():
    pixels = SOURCE.integers(0, 256, (500, 8, 8), dtype=np.uint8)
    pixels[:, 0] = 0
    assert examine_data(from_arrays(pixels)) == []
    pixels[:, :3] = 0
    only(examine_data(from_arrays(pixels)), "note", "24 of 64 pixels are the same")


@pytest.mark.parametrize(("blank", "severity"), [(2, "note"), (60, "doubtful")])
def test_blank_images_are_found(blank, severity):
    pixels = SOURCE.integers(0, 256, (1_000, 8, 8), dtype=np.uint8)
    pixels[:blank] = 0
    finding = only(examine_data(from_arrays(pixels)), severity, "images are blank")
    assert f"{blank} of n = 1,000 rows" in finding.evidence


def test_rows_of_one_number_are_found():
    data = reals()
    data.validation.values[7] = 0.25
    finding = only(examine_data(data), "note", "one number over and over")
    assert f"1 in validation (rows {data.validation.rows[7]})" in finding.evidence


@pytest.mark.parametrize(("copies", "severity"), [(1, "note"), (30, "doubtful")])
@pytest.mark.parametrize("make", [images, reals, pairs, counts])
def test_copies_within_a_split_are_found(make, copies, severity):
    data = make()
    data.train.values[100 : 100 + copies] = data.train.values[:copies].clone()
    finding = only(examine_data(data), severity, "train split holds examples more than once")
    assert f"{copies} of n = 800 rows" in finding.evidence
    assert str(int(data.train.rows[100])) in finding.evidence or copies > 1


def test_copies_with_contradicting_labels_are_counted():
    data = images(labels=np.arange(1_000) % 2)
    data.train.values[100] = data.train.values[0]
    data.train.labels[[0, 100]] = torch.tensor([0, 1])
    assert "1 example with labels that differ" in only(examine_data(data), "note", "more than once").evidence


def test_zero_and_minus_zero_are_the_same_number():
    data = reals()
    data.train.values[0, 0], data.train.values[1] = 0.0, data.train.values[0]
    data.train.values[0, 0], data.train.values[1, 0] = 0.0, -0.0
    only(examine_data(data), "note", "more than once")


def test_equal_rows_of_a_few_classes_come_by_chance():
    """With 27 or 4,096 possible examples, a thousand rows have no choice."""
    few = SOURCE.integers(0, 3, (1_000, 3))
    assert examine_data(from_arrays(few, columns=["categorical:3"] * 3)) == []
    some = SOURCE.integers(0, 2, (1_000, 4, 3), dtype=np.uint8)
    assert examine_data(from_arrays(some)) == []


@pytest.mark.parametrize(("copies", "severity"), [(1, "doubtful"), (5, "wrong")])
def test_leakage_between_splits_is_found(copies, severity):
    data = images()
    data.test.values[:copies] = data.train.values[:copies]
    finding = only(examine_data(data), severity, "the same examples stand in two splits")
    assert f"{copies} of n = 100 test rows also stand in train (rows {data.test.rows[0]}" in finding.evidence


def test_leakage_between_the_held_out_splits_is_found():
    data = reals()
    data = changed(data, "test", torch.cat([data.test.values[:-1], data.validation.values[:1]]))
    assert "also stand in validation" in only(examine_data(data), "doubtful", "two splits").evidence


@pytest.mark.parametrize("measure", ["binary", "unit", "levels"])
def test_images_on_another_scale_are_doubtful(measure):
    pixels = SOURCE.integers(0, 17, (500, 8, 8), dtype=np.uint8)
    finding = only(examine_data(from_arrays(pixels, measure=measure)), "doubtful", "read as nearly black")
    assert "brightest stored value is 16" in finding.evidence
    assert examine_data(from_arrays(pixels, measure=measure, levels=16)) == []


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_entries_of_another_scale_than_the_others_are_doubtful(factor):
    data = from_arrays(SOURCE.normal(size=(500, 6)).astype("f4") * np.array([1, 1, factor, 1, 1, 1], "f4"))
    assert "entries 2)" in only(examine_data(data), "doubtful", "1 of 6 real entries have a scale far from that").evidence
    assert examine_data(from_arrays(factor * SOURCE.normal(size=(500, 6)))) == []


def test_columns_of_a_table_need_no_scale_since_their_likelihood_has_it():
    columns = np.stack([SOURCE.normal(size=500) * 1e4, SOURCE.lognormal(size=500) * 1e4, SOURCE.poisson(9e4, 500)], 1)
    assert examine_data(from_arrays(columns, columns=["real", "positive", "count"])) == []


def test_gaps_in_a_table_are_no_finding_and_hide_none():
    data = table()
    data.train.values[::3, 0] = np.nan
    data.train.values[1::3, 3] = np.nan
    assert examine_data(data) == []
    data.train.values[:, 3].masked_fill_(~data.train.values[:, 3].isnan(), 4.0)
    only(examine_data(data), "doubtful", "1 of 4 entries are the same")
    data = table()
    data.train.values[::3, 0] = np.nan
    data.train.values[100:150] = data.train.values[:50]
    assert said(examine_data(data))


def test_gray_images_of_floats_are_noticed():
    pixels = SOURCE.integers(0, 256, (500, 1, 8, 8)).astype("f4") / 255
    only(examine_data(from_arrays(pixels)), "note", "look like gray images")
    assert examine_data(from_arrays(2 * pixels - 1)) == []


def test_huge_counts_are_doubtful():
    data = counts()
    data.train.values[5, 3] = 2e6
    assert "up to 2,000,000 (entries 3)" in only(examine_data(data), "doubtful", "1 of 20 count entries").evidence


def test_a_class_that_a_split_lacks_is_doubtful():
    data = images(labels=np.arange(1_000) % 4)
    data.train.labels[data.train.labels == 3] = 1
    finding = only(examine_data(data), "doubtful", "a split has no example of some classes")
    assert "train (n = 800) has none of 3" in finding.evidence


def test_unbalanced_classes_are_a_note():
    data = images(3_000, labels=np.arange(3_000) % 40 == 0)
    only(examine_data(data), "note", "very unequal in size")


def test_labels_that_are_no_classes_are_left_alone():
    assert examine_data(images(labels=np.arange(1_000))) == []


def test_too_few_rows_are_doubtful():
    only(examine_data(images(110)), "doubtful", "too few rows to learn from")
    data = images()
    few = replace(data, test=data.test.subset(torch.arange(9)))
    assert "n = 9 in test" in only(examine_data(few), "doubtful", "too few rows to judge by").evidence


def test_the_worst_comes_first():
    data = reals()
    data.train.values[:, 4] = 1.5
    data.train.values[1] = data.train.values[0]
    assert [finding.severity for finding in examine_data(data)] == ["doubtful", "note"]
    data.test.values[:3] = data.train.values[5:8]
    assert [finding.severity for finding in examine_data(data)] == ["wrong", "doubtful", "note"]
