"""The density of the aggregate posterior at draws from it, by brute force, and with the errors of whole populations."""

from math import log

import pytest
import torch

from unveil.distributions import DiagonalGaussian
from unveil.evaluation import Figure
from unveil.evaluation.latent.mixture import Diagonals, broadcast, mixture


def pair(rho):
    return torch.tensor([[1.0, rho], [rho, 1.0]])


def posteriors(n, d, seed=0, spread=1.0):
    source = torch.Generator().manual_seed(seed)
    loc = spread * torch.randn(n, d, generator=source, dtype=torch.float64)
    log_scale = 0.5 * torch.randn(n, d, generator=source, dtype=torch.float64) - 0.5
    z = loc + log_scale.exp() * torch.randn(n, d, generator=source, dtype=torch.float64)
    return loc, log_scale, z


def by_hand(loc, log_scale, z):
    """(N, N) log q(z_n|x_m), one after the other."""
    rows = [
        [DiagonalGaussian(mean, scale).log_prob(point) for mean, scale in zip(loc, log_scale, strict=True)] for point in z
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("rows", [1, 3, 7, 1_000])
def test_the_mixture_is_that_of_brute_force(rows, monkeypatch):
    n = 7
    monkeypatch.setattr("unveil.evaluation.latent.mixture.NUMBERS", rows * n)
    loc, log_scale, z = posteriors(n, 3)
    tables = Diagonals(loc, log_scale, z)
    for table, full in [
        (tables.joint(), by_hand(loc, log_scale, z)),
        (tables.marginal(1), by_hand(loc[:, 1:2], log_scale[:, 1:2], z[:, 1:2])),
        (broadcast([DiagonalGaussian(loc[:4], log_scale[:4]), DiagonalGaussian(loc[4:], log_scale[4:])], z),) * 2,
    ]:
        full = full(0, n) if callable(full) else full
        found = mixture(table, n)
        others = torch.stack([torch.cat([full[i, :i], full[i, i + 1 :]]).exp().mean().log() for i in range(n)])
        assert torch.allclose(found.own, full.diagonal())
        assert torch.allclose(found.within, full.exp().mean(1).log())
        assert torch.allclose(found.without, others)


def test_posteriors_without_overlap_overflow_nothing():
    loc, log_scale, z = posteriors(20, 4, spread=1e4)
    found = mixture(Diagonals(loc, log_scale, z).joint(), 20)
    assert torch.allclose(found.own - found.within, torch.full((20,), log(20)).double())
    assert (found.own - found.without).isfinite().all()
    assert (found.own - found.without).min() > 1e6
    full = by_hand(loc[:3], log_scale[:3], z[:3])
    assert torch.allclose(Diagonals(loc[:3], log_scale[:3], z[:3]).joint()(0, 3), full, atol=1e-6)  # of numbers near 1e9


def test_densities_of_many_dimensions_underflow_nothing():
    loc, log_scale, z = posteriors(6, 800)
    shift = 2.0  # every density is then near exp(-2000)
    found = mixture(Diagonals(loc, log_scale + shift, loc + (z - loc) * torch.tensor(shift).exp()).joint(), 6)
    assert found.own.max() < -1_500
    assert all(part.isfinite().all() for part in (found.own, found.within, found.without))


def parts_of(slope, scale, n, source):
    """Every figure of n fresh examples with x ~ N(0, pair(0.8))."""
    x = torch.randn(n, 2, generator=source, dtype=torch.float64) @ torch.linalg.cholesky(pair(0.8).double()).T
    loc, log_scale = slope * x, torch.full((n, 2), log(scale), dtype=torch.float64)
    z = loc + scale * torch.randn(n, 2, generator=source, dtype=torch.float64)
    tables = Diagonals(loc, log_scale, z)
    joint, singles = mixture(tables.joint(), n), [mixture(tables.marginal(d), n) for d in (0, 1)]
    log_p = DiagonalGaussian(torch.zeros(2), torch.zeros(2)).log_prob(z)
    parts = {
        "information.lower": joint.own - joint.within,
        "information.upper": joint.own - joint.without,
        "divergence.lower": joint.without - log_p,
        "divergence.upper": joint.within - log_p,
        "correlation.lower": joint.without - singles[0].within - singles[1].within,
        "correlation.upper": joint.within - singles[0].without - singles[1].without,
    }
    return {name: Figure.over(part) for name, part in parts.items()}


@pytest.mark.parametrize(("slope", "scale"), [(0.3, 1.0), (1.0, 0.7), (0.95, 0.3)])
def test_the_stated_errors_are_those_over_populations(slope, scale):
    """Over 250 samples of 150 examples: within three of the spread's own errors, although examples share posteriors."""
    source = torch.Generator().manual_seed(0)
    every = [parts_of(slope, scale, 150, source) for _ in range(250)]
    for name in every[0]:
        spread = torch.tensor([found[name].value for found in every]).std()
        stated = torch.tensor([found[name].stderr for found in every]).square().mean().sqrt()
        assert spread / stated == pytest.approx(1, abs=0.15), name
