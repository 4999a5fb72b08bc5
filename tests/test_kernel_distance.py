"""The kernel distance: by loops over pairs, in closed form, unbiased, and with the error that it states."""

from itertools import product

import pytest
import torch

from unveil.errors import SettingError
from unveil.evaluation.samples.kernel import kernel_distance


def normals(n, size, seed, shift=0.0):
    source = torch.Generator().manual_seed(seed)
    return shift + torch.randn(n, size, generator=source, dtype=torch.float64)


def by_loops(x, y):
    def kernel(a, b):
        return float((a @ b) / len(a) + 1) ** 3

    def within(rows):
        pairs = [(i, j) for i, j in product(range(len(rows)), repeat=2) if i != j]
        return sum(kernel(rows[i], rows[j]) for i, j in pairs) / len(pairs)

    between = sum(kernel(a, b) for a, b in product(x, y)) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between


def without(rows, i):
    return torch.cat([rows[:i], rows[i + 1 :]])


def moments(shift):
    """The squared discrepancy of N(shift, 1) from N(0, 1): binomial coefficients times squared differences of moments."""
    return 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2


def test_it_is_the_mean_over_pairs_none_with_itself():
    x, y = normals(7, 3, 0), normals(5, 3, 1, 0.4)
    assert kernel_distance(x, y).value == pytest.approx(by_loops(x, y), rel=1e-12)
    assert kernel_distance(y, x).value == pytest.approx(by_loops(x, y), rel=1e-12)


def test_its_error_is_the_jackknife_over_both_sets():
    x, y = normals(7, 3, 0), normals(5, 3, 1, 0.4)
    mine = torch.tensor([by_loops(without(x, i), y) for i in range(7)], dtype=torch.float64)
    theirs = torch.tensor([by_loops(x, without(y, i)) for i in range(5)], dtype=torch.float64)
    variance = 6 * mine.var(correction=0) + 4 * theirs.var(correction=0)
    assert kernel_distance(x, y).stderr == pytest.approx(float(variance.sqrt()), rel=1e-9)


def test_chunks_change_nothing(monkeypatch):
    x, y = normals(40, 3, 0), normals(33, 3, 1, 0.4)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("unveil.evaluation.samples.kernel.CHUNK", 7)
    cut = kernel_distance(x, y)
    assert cut.value == pytest.approx(whole.value, rel=1e-10)
    assert cut.stderr == pytest.approx(whole.stderr, rel=1e-10)


def test_between_shifted_normals_it_meets_the_closed_form():
    found = kernel_distance(normals(3_000, 1, 0, 0.5), normals(2_000, 1, 1))
    assert abs(found.value - moments(0.5)) < 4 * found.stderr
    assert found.stderr < 0.2 * moments(0.5)
    assert found.n == 2_000


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_it_is_unbiased_for_sets_of_any_size(shift):
    found = [kernel_distance(normals(6, 1, 2 * s, shift), normals(4, 1, 2 * s + 1)).value for s in range(1_500)]
    found = torch.tensor(found, dtype=torch.float64)
    assert abs(found.mean() - moments(shift)) < 4 * found.std() / len(found) ** 0.5
    assert bool((found < 0).any())


@pytest.mark.parametrize(("shift", "low", "high"), [(0.5, 0.8, 1.25), (0.0, 1.0, 1.75)])
def test_its_error_is_its_spread_over_repeats_and_wider_where_there_is_no_distance(shift, low, high):
    pairs = [kernel_distance(normals(200, 4, 2 * s, shift), normals(200, 4, 2 * s + 1)) for s in range(200)]
    value = torch.tensor([pair.value for pair in pairs], dtype=torch.float64)
    error = torch.tensor([pair.stderr**2 for pair in pairs], dtype=torch.float64).mean().sqrt()
    assert low < float(error / value.std()) < high


@pytest.mark.parametrize(("n", "size"), [(2, 5), (20, 4)])
def test_what_has_no_distance_is_named(n, size):
    with pytest.raises(SettingError, match="at least 3 rows of the same features"):
        kernel_distance(normals(n, size, 0), normals(20, 5, 1))
