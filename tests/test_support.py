"""Precision, recall, density and coverage: by hand, by loops, and what they expect of samples as good as data."""

from math import prod

import pytest
import torch

from unveil.errors import SettingError
from unveil.evaluation.samples.support import support


def normals(n, size, seed, shift=0.0, scale=1.0):
    source = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, size, generator=source, dtype=torch.float64)


def values(found):
    return [found.precision.value, found.recall.value, found.density.value, found.coverage.value]


def by_loops(samples, data, k):
    def far(a, b):
        return float((a - b).square().sum().sqrt())

    def radii(rows):
        return [sorted(far(a, b) for j, b in enumerate(rows) if j != i)[k - 1] for i, a in enumerate(rows)]

    mine, theirs = radii(samples), radii(data)
    balls = [sum(far(y, x) <= r for x, r in zip(data, theirs, strict=True)) for y in samples]
    reached = [any(far(x, y) <= r for y, r in zip(samples, mine, strict=True)) for x in data]
    covered = [any(far(x, y) <= r for y in samples) for x, r in zip(data, theirs, strict=True)]
    n, m = len(samples), len(data)
    return [sum(ball > 0 for ball in balls) / n, sum(reached) / m, sum(balls) / k / n, sum(covered) / m]


def test_a_few_points_on_a_line_give_what_can_be_counted():
    # balls of the data, to the nearest other: 0 ± 1, 1 ± 1, 3 ± 2, 10 ± 7; of the samples: 0.5 ± 1, 1.5 ± 1, 30 ± 28.5
    data = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    samples = torch.tensor([[0.5], [1.5], [30.0]])
    found = support(samples, data, k=1)
    # 0.5 lies in two balls, 1.5 in those of 1 and of 3, 30 in none; no sample is within 7 of 10
    assert values(found) == pytest.approx([2 / 3, 1.0, 4 / 3, 3 / 4])
    assert [found.precision.n, found.recall.n, found.density.n, found.coverage.n] == [3, 4, 3, 4]
    # the same with the sample that reaches everything gone nearer: 9 ± 7.5 holds 3 and 10
    assert values(support(torch.tensor([[0.5], [1.5], [9.0]]), data, k=1)) == pytest.approx([1.0, 1.0, 5 / 3, 1.0])
    # and with one that reaches nothing: 1.9 ± 0.4
    far = torch.tensor([[0.5], [1.5], [1.9]])
    assert values(support(far, data, k=1)) == pytest.approx([1.0, 2 / 4, 2.0, 3 / 4])


@pytest.mark.parametrize(("n", "m", "k"), [(40, 30, 5), (30, 41, 3), (12, 12, 1)])
def test_loops_over_all_pairs_say_the_same(n, m, k, monkeypatch):
    monkeypatch.setattr("unveil.evaluation.samples.support.CHUNK", 7)
    samples, data = normals(n, 3, 0, 0.5), normals(m, 3, 1)
    assert values(support(samples, data, k)) == pytest.approx(by_loops(samples, data, k))


def test_samples_of_the_data_s_distribution_have_a_density_of_one_and_a_known_coverage():
    n, m, k, repeats = 60, 90, 5, 400
    found = [values(support(normals(n, 6, 2 * s), normals(m, 6, 2 * s + 1), k)) for s in range(repeats)]
    found = torch.tensor(found, dtype=torch.float64)
    mean, error = found.mean(0), found.std(0) / repeats**0.5
    # none of n samples comes before the k nearest of m - 1 data, in a random order of all
    coverage = 1 - prod((m - 1 - j) / (m - 1 + n - j) for j in range(k))
    assert abs(mean[2] - 1) < 4 * error[2]
    assert abs(mean[3] - coverage) < 4 * error[3]


def test_samples_at_the_mode_are_dense_and_cover_little():
    found = support(normals(500, 10, 0, scale=0.3), normals(500, 10, 1))
    assert found.density.value > 3
    assert found.precision.value == 1
    assert found.coverage.value < 0.7  # 0.97 for samples as good as data
    assert found.recall.value < 0.05


def test_samples_that_are_too_wide_lack_precision_and_not_recall():
    found = support(normals(500, 4, 0, scale=2.0), normals(500, 4, 1))
    assert found.precision.value < 0.7
    assert found.recall.value > 0.95
    assert 0 <= found.density.value < 0.7


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_the_data_themselves_are_covered_though_many_are_twins(far):
    data = far + normals(50, 3, 0).repeat(8, 1)  # more twins than k: balls have no width
    found = support(data.float(), data.float())
    assert [found.precision.value, found.recall.value, found.coverage.value] == [1, 1, 1]


def test_a_lone_sample_repeated_reaches_nothing():
    found = support(normals(1, 3, 0).expand(200, 3), normals(200, 3, 1))
    assert found.recall.value == 0
    assert found.coverage.value < 0.3


@pytest.mark.parametrize(("n", "repeats", "low", "high"), [(120, 100, 0.9, 2.6), (1_000, 30, 0.65, 1.6)])
def test_errors_are_the_spread_over_repeats_and_no_smaller_where_examples_are_few(n, repeats, low, high):
    pairs = [support(normals(n, 5, 2 * s, 0.4, 0.9), normals(n, 5, 2 * s + 1)) for s in range(repeats)]
    found = torch.tensor([values(pair) for pair in pairs], dtype=torch.float64)
    errors = [[f.stderr for f in (p.precision, p.recall, p.density, p.coverage)] for p in pairs]
    ratio = torch.tensor(errors, dtype=torch.float64).square().mean(0).sqrt() / found.std(0)
    assert bool(((ratio > low) & (ratio < high)).all())
    binomial = (found.mean(0) * (1 - found.mean(0)).clamp(min=0) / n).sqrt() / found.std(0)
    assert binomial[1] < 0.9  # what the errors would be if the samples' balls were given


@pytest.mark.parametrize("n", [100, 1_000])
def test_all_and_none_of_a_few_are_not_certain(n):
    all_of_them = support(normals(n, 3, 0).mul(0.1), normals(n, 3, 1))
    none = support(normals(n, 3, 0) + 100, normals(n, 3, 1))
    assert (all_of_them.precision.value, none.precision.value, none.density.value) == (1, 0, 0)
    assert min(all_of_them.precision.stderr, none.precision.stderr, none.density.stderr, none.coverage.stderr) >= 1 / n


@pytest.mark.parametrize(("n", "size", "k"), [(5, 5, 5), (20, 4, 5), (20, 5, 0)])
def test_what_has_no_neighbours_is_named(n, size, k):
    with pytest.raises(SettingError, match="give more rows than k"):
        support(normals(n, size, 0), normals(20, 5, 1), k)
