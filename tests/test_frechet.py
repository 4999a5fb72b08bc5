"""The Fréchet distance: between known Gaussians, its floor in closed form, and the errors it states."""

import pytest
import torch
from scipy.linalg import sqrtm

from unveil.errors import SettingError
from unveil.evaluation.samples.frechet import frechet, gaussian_distance


def normals(n, size, seed, shift=0.0, scale=1.0):
    source = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, size, generator=source, dtype=torch.float64)


def covariance(size, seed):
    root = normals(size + 2, size, seed)
    return root.T @ root / size


def test_between_gaussians_on_the_same_axes_it_is_the_difference_of_means_and_scales():
    means = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.0, 1.0, 0.5]).double()
    scales = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([3.0, 0.5, 1.0]).double()
    found = gaussian_distance(means, (scales[0].square().diag(), scales[1].square().diag()))
    exact = sum((one - other).square().sum() for one, other in (means, scales))
    assert float(found) == pytest.approx(float(exact), rel=1e-12)


def test_between_gaussians_of_any_direction_it_is_the_published_formula():
    one, other = covariance(6, 0), covariance(6, 1)
    means = normals(2, 6, 2)
    root = torch.from_numpy(sqrtm(one.numpy()).real)
    inner = torch.from_numpy(sqrtm((root @ other @ root).numpy()).real)
    exact = (means[0] - means[1]).square().sum() + (one + other - 2 * inner).trace()
    assert float(gaussian_distance((means[0], means[1]), (one, other))) == pytest.approx(float(exact), rel=1e-9)
    assert float(gaussian_distance((means[1], means[0]), (other, one))) == pytest.approx(float(exact), rel=1e-9)


def test_of_features_it_is_that_of_their_means_and_unbiased_covariances():
    x, y = normals(30, 4, 0, 0.5), normals(23, 4, 1)
    exact = gaussian_distance((x.mean(0), y.mean(0)), (torch.cov(x.T), torch.cov(y.T)))
    assert frechet(x, y).distance.value == pytest.approx(float(exact), rel=1e-9)
    assert frechet(x, y).distance.n == 23


@pytest.mark.parametrize("kind", ["full", "constant", "few"])
def test_it_is_zero_for_the_same_set_in_any_order(kind):
    rows = 1e3 + normals(8 if kind == "few" else 500, 12, 0)
    if kind == "constant":
        rows[:, 3] = 7.0
    found = frechet(rows.flip(0), rows)
    assert found.distance.value == 0.0


def test_a_small_distance_is_not_lost_to_rounding():
    rows = normals(500, 12, 0)
    moved = rows.clone()
    moved[:, 0] += 1e-5
    assert frechet(moved, rows).distance.value == pytest.approx(1e-10, rel=1e-3)


def test_features_of_twice_the_size_are_four_times_as_far_apart():
    x, y = normals(300, 5, 0), normals(300, 5, 1, shift=0.3)
    assert frechet(2 * x, 2 * y).distance.value == pytest.approx(4 * frechet(x, y).distance.value, rel=1e-9)


def test_the_floor_is_what_the_docstring_says():
    values = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.0]).double()  # variances; one feature is constant
    n, repeats = 1_000, 60
    found = []
    for seed in range(repeats):
        x, y = (normals(n, 5, 2 * seed + side, scale=values.sqrt()) for side in (0, 1))
        found.append(frechet(x, y).distance.value)
    a, b = values[:4, None], values[None, :4]
    floor = 2 / n * (values.sum() + 0.5 * (a * b * (1 + torch.eye(4)) / (a + b)).sum())
    found = torch.tensor(found).double()
    # the expansion is to first order in 1 / n: half a percent is left for what it drops
    assert abs(found.mean() - floor) < 4 * found.std() / repeats**0.5 + 0.005 * floor


def repeated(shift, n=300, size=4, repeats=150):
    pairs = [frechet(normals(n, size, 2 * s, shift, 1 + shift), normals(n, size, 2 * s + 1)) for s in range(repeats)]
    table = [(p.distance.value, p.limit.value, p.distance.stderr) for p in pairs]
    return torch.tensor(table, dtype=torch.float64).T


def test_its_value_is_biased_upwards_and_its_limit_is_not():
    value, limit, _ = repeated(0.2)
    exact, n = 4 * (0.2**2 + 0.2**2), len(value)
    assert abs(limit.mean() - exact) < 4 * limit.std() / n**0.5
    assert value.mean() - exact > 4 * value.std() / n**0.5


def test_its_error_is_its_spread_over_repeats():
    value, limit, error = repeated(0.2)
    # the spread of 150 values is known to 6 %: 25 % is four times that, and a little for the jackknife's own bias
    assert float(error.mean() / value.std()) == pytest.approx(1, abs=0.25)
    assert float(error.mean() / limit.std()) == pytest.approx(1, abs=0.25)


def test_between_sets_of_one_distribution_its_error_is_too_wide_rather_than_too_narrow():
    value, limit, error = repeated(0.0)
    assert 0.9 < float(error.mean() / value.std()) < 2
    assert abs(limit.mean()) < 4 * limit.std() / len(limit) ** 0.5


def test_it_depends_neither_on_the_caller_s_random_state_nor_on_torch_s():
    x, y = normals(200, 3, 0), normals(200, 3, 1)
    torch.manual_seed(1)
    first = frechet(x, y)
    state = torch.get_rng_state()
    assert frechet(x, y) == first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("n", "size"), [(3, 5), (20, 4)])
def test_what_has_no_distance_is_named(n, size):
    with pytest.raises(SettingError, match="at least 4 rows of the same features"):
        frechet(normals(n, size, 0), normals(20, 5, 1))
