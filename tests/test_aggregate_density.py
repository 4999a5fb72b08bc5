"""The density of the aggregate posterior at draws from it, by brute force, and with the errors of whole populations."""

from math import log

import pytest
import torch

from unveil.distributions import DiagonalGaussian
from unveil.evaluation.mixture import Diagonals, PerExample, broadcast, mixture


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
    monkeypatch.setattr("unveil.evaluation.mixture.NUMBERS", rows * n)
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
        assert torch.allclose(found.own.values, full.diagonal())
        assert torch.allclose(found.within.values, full.exp().mean(1).log())
        assert torch.allclose(found.without.values, others)
        # what each posterior accounts for of every draw, its own included or not
        share = full.softmax(1).sum(0)
        assert torch.allclose(found.within.influence - found.within.values, share + log(n))
        apart = full.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf).softmax(1).sum(0)
        assert torch.allclose(found.without.influence - found.without.values, apart + log(n - 1))


def test_posteriors_without_overlap_overflow_nothing():
    loc, log_scale, z = posteriors(20, 4, spread=1e4)
    found = mixture(Diagonals(loc, log_scale, z).joint(), 20)
    information = found.own - found.within
    assert torch.allclose(information.values, torch.full((20,), log(20)).double())
    upper = found.own - found.without
    assert upper.values.isfinite().all()
    assert upper.values.min() > 1e6
    assert all(part.influence.isfinite().all() for part in (found.own, found.within, found.without))
    full = by_hand(loc[:3], log_scale[:3], z[:3])
    assert torch.allclose(Diagonals(loc[:3], log_scale[:3], z[:3]).joint()(0, 3), full, rtol=1e-9)


def parts_of(slope, scale, n, source):
    """Every figure of n fresh examples with x ~ N(0, pair(0.8))."""
    x = torch.randn(n, 2, generator=source, dtype=torch.float64) @ torch.linalg.cholesky(pair(0.8).double()).T
    loc, log_scale = slope * x, torch.full((n, 2), log(scale), dtype=torch.float64)
    z = loc + scale * torch.randn(n, 2, generator=source, dtype=torch.float64)
    tables = Diagonals(loc, log_scale, z)
    joint, singles = mixture(tables.joint(), n), mixture(tables.marginal(0), n) + mixture(tables.marginal(1), n)
    log_p = PerExample.alone(DiagonalGaussian(torch.zeros(2), torch.zeros(2)).log_prob(z))
    named_parts = {
        "information.lower": joint.own - joint.within,
        "information.upper": joint.own - joint.without,
        "divergence.lower": joint.without - log_p,
        "divergence.upper": joint.within - log_p,
        "correlation.lower": joint.without - singles.within,
        "correlation.upper": joint.within - singles.without,
    }
    return {name: (part.figure(), float(part.values.std() / n**0.5)) for name, part in named_parts.items()}


@pytest.mark.parametrize(("slope", "scale"), [(1.0, 0.7), (0.95, 0.3)])
def test_the_stated_errors_are_those_over_populations(slope, scale):
    """Over 250 samples of 150 examples: within a seventh of the stated error, three of the spread's own."""
    source = torch.Generator().manual_seed(0)
    every = [parts_of(slope, scale, 150, source) for _ in range(250)]
    naive = []
    for name in every[0]:
        values = torch.tensor([found[name][0].value for found in every])
        stated = torch.tensor([found[name][0].stderr for found in every]).square().mean().sqrt()
        assert values.std() / stated == pytest.approx(1, abs=0.15), name
        naive.append(float(values.std() / torch.tensor([found[name][1] for found in every]).square().mean().sqrt()))
    # as if examples were independent of each other, errors would be wrong
    assert max(abs(ratio - 1) for ratio in naive) > 0.3
