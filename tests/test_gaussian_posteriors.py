"""Gaussians with covariance, and points, against torch's own densities."""

import pytest
import torch
from helpers.posteriors import B, D, K, numbers
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from unveil.distributions import Delta, DiagonalGaussian, FullGaussian, LowRankGaussian
from unveil.errors import SettingError
from unveil.parts import Full, LowRank, Point, Standard

R = 2


def full(seed=0, batch=(B,), dtype=torch.float64):
    below = numbers(*batch, D, D, seed=seed + 2).tril(-1)
    q = FullGaussian(numbers(*batch, D, seed=seed), numbers(*batch, D, scale=0.5, seed=seed + 1), below)
    tril = q.scale.diag_embed() @ (torch.eye(D, dtype=torch.float64) + below)
    return q, MultivariateNormal(q.loc, scale_tril=tril)


def low_rank(seed=0, batch=(B,)):
    factor = numbers(*batch, D, R, seed=seed + 2)
    q = LowRankGaussian(numbers(*batch, D, seed=seed), numbers(*batch, D, scale=0.5, seed=seed + 1), factor)
    return q, LowRankMultivariateNormal(q.loc, q.scale.unsqueeze(-1) * factor, q.scale.square())


BOTH = pytest.mark.parametrize("make", [full, low_rank])


@BOTH
def test_densities_moments_and_entropy_are_torchs(make):
    q, torchs = make()
    value = numbers(K, B, D, scale=3.0, seed=9)
    assert torch.allclose(q.log_prob(value), torchs.log_prob(value), atol=1e-10)
    assert torch.allclose(q.log_prob(value[0]), torchs.log_prob(value[0]), atol=1e-10)
    assert torch.allclose(q.log_prob(value[0, 0]), torchs.log_prob(value[0, 0]), atol=1e-10)
    assert q.log_prob(value.unsqueeze(1)).shape == (K, 1, B)
    assert torch.allclose(q.variance, torchs.variance)
    assert torch.allclose(q.stddev, torchs.stddev)
    assert torch.allclose(q.entropy(), torchs.entropy())
    assert torch.equal(q.mean, q.loc)


@BOTH
def test_one_distribution_serves_a_batch_of_values(make):
    q, torchs = make(batch=(1,))
    value = numbers(K, B, D, seed=9)
    assert torch.allclose(q.log_prob(value), torchs.log_prob(value), atol=1e-10)
    assert torch.allclose(q.expand((B,)).log_prob(value), torchs.log_prob(value), atol=1e-10)
    q, torchs = make(batch=())
    assert torch.allclose(q.log_prob(value), torchs.log_prob(value), atol=1e-10)
    assert q.rsample((K,)).shape == (K, D)
    assert q.rsample().shape == (D,)


@BOTH
def test_draws_have_the_stated_mean_and_covariance(make):
    torch.manual_seed(0)
    q, torchs = make()
    n = 100_000
    z = q.rsample((n,))
    apart = z - q.loc
    products = apart.unsqueeze(-1) * apart.unsqueeze(-2)
    error = products.std(0) / n**0.5
    assert ((products.mean(0) - torchs.covariance_matrix) / error).abs().max() < 4.5
    assert (apart.mean(0) / (q.stddev / n**0.5)).abs().max() < 4.5


@BOTH
def test_the_divergence_from_a_diagonal_gaussian_is_torchs_and_what_draws_say(make):
    torch.manual_seed(0)
    q, torchs = make()
    p = DiagonalGaussian(numbers(B, D, seed=4), numbers(D, scale=0.3, seed=5))
    closed = kl_divergence(q, p)
    dense = MultivariateNormal(q.loc, torchs.covariance_matrix)
    assert torch.allclose(closed, kl_divergence(dense, MultivariateNormal(p.loc, p.variance.diag_embed())), atol=1e-9)
    z = q.rsample((20_000,))
    sampled = q.log_prob(z) - p.log_prob(z)
    assert ((sampled.mean(0) - closed) / (sampled.std(0) / 20_000**0.5)).abs().max() < 4.5
    prior = Standard(D).double()()
    standard = MultivariateNormal(torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64))
    assert torch.allclose(kl_divergence(q, prior), kl_divergence(dense, standard), atol=1e-9)


def test_a_draw_s_own_density_is_the_density_of_the_draw_in_value_and_gradient():
    q, _ = full()
    parts = [part.requires_grad_() for part in (q.loc.clone(), q.log_scale.clone(), q.factor.clone())]
    torch.manual_seed(0)
    z, traced = FullGaussian(*parts).rsample_and_log_prob((K,))
    assert torch.allclose(traced, q.log_prob(z), atol=1e-10)
    torch.manual_seed(0)
    q = FullGaussian(*parts)
    solved = q.log_prob(q.rsample((K,)))
    for a, b in zip(*(torch.autograd.grad(d.sum(), parts, allow_unused=True) for d in (traced, solved)), strict=True):
        assert a is None or torch.allclose(a.tril(), b.tril(), atol=1e-9)


@BOTH
def test_parameters_of_a_detached_gaussian_are_constants(make):
    q, _ = make()
    parts = [part.clone().requires_grad_() for part in (q.loc, q.log_scale, q.factor)]
    q = type(q)(*parts)
    fixed = q.detach()
    assert not fixed.log_prob(q.loc.detach()).requires_grad
    assert fixed.log_prob(q.rsample()).requires_grad


def test_heads_place_their_parameters_as_stated():
    raw = numbers(B, D + D + 6, scale=0.3).float()
    q = Full(D)(raw)
    assert torch.equal(q.loc, raw[:, :D])
    assert torch.allclose(q.log_scale, raw[:, D : 2 * D] / 2, atol=1e-3)  # bounded, nearly the identity here
    rows = [[0, 0, 0, 0], [8, 0, 0, 0], [9, 10, 0, 0], [11, 12, 13, 0]]
    for i in range(D):
        for j in range(i):
            assert torch.allclose(q.factor[:, i, j], raw[:, rows[i][j]], atol=1e-2)
    assert (q.factor.triu() == 0).all()
    raw = numbers(B, 4 * D, scale=0.3).float()
    low = LowRank(D, R)(raw)
    assert torch.allclose(low.factor, raw[:, 2 * D :].view(B, D, R), atol=1e-2)


@pytest.mark.parametrize("head", [Full((2, 3)), LowRank((2, 3), 2)])
def test_an_event_may_have_any_shape(head):
    (size,) = head.needs((2, 3))
    q = head(numbers(B, size))
    p = Standard((2, 3))()
    z = q.rsample((K,))
    assert z.shape == (K, B, 2, 3)
    assert q.log_prob(z).shape == (K, B)
    assert q.stddev.shape == q.mean.shape == (B, 2, 3)
    flat = type(q)(q.loc.flatten(1), q.log_scale, q.factor)
    assert torch.allclose(kl_divergence(q, p), kl_divergence(flat, Standard(6)()), rtol=1e-5)
    assert torch.allclose(q.log_prob(z), flat.log_prob(z.flatten(2)), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 16, 64])
@pytest.mark.parametrize("signs", ["all", "none", "random"])
def test_a_full_covariance_stays_finite_whatever_the_network_says(size, signs):
    torch.manual_seed(0)
    head = Full(size)
    raw = {"all": torch.ones, "none": lambda *s: -torch.ones(*s), "random": torch.randn}[signs](3, *head.needs((size,)))
    raw = (1e30 * raw).requires_grad_()
    q = head(torch.cat([raw[:, :size] * 1e-28, raw[:, size:]], 1))
    z = q.rsample((7,))
    for nats in (
        q.log_prob(z),
        q.detach().log_prob(z),
        q.rsample_and_log_prob((7,))[1],
        kl_divergence(q, Standard(size)()),
    ):
        assert nats.isfinite().all()
        (gradient,) = torch.autograd.grad(nats.sum(), raw, retain_graph=True)
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("size", "rank"), [(2, 1), (16, 4), (64, 32)])
@pytest.mark.parametrize("signs", ["all", "random"])
def test_a_low_rank_density_keeps_its_digits_where_directions_are_steep(size, rank, signs):
    """Woodbury's difference of squares is off by thousands of nats here."""
    torch.manual_seed(0)
    head = LowRank(size, rank)
    raw = 1e30 * {"all": torch.ones, "random": torch.randn}[signs](3, *head.needs((size,)))
    raw[:, :size] = 0
    q = head(raw)
    z = q.rsample((50,))
    exact = LowRankGaussian(q.loc.double(), q.log_scale.double(), q.factor.double())
    covariance = q.scale.double().square().diag_embed()
    u = q.scale.double().unsqueeze(-1) * q.factor.double()
    dense = MultivariateNormal(q.loc.double(), covariance + u @ u.mT)
    assert torch.allclose(q.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-4, atol=1e-2)
    # the dense one cancels digits of its own, even in float64
    assert torch.allclose(exact.log_prob(z.double()), dense.log_prob(z.double()), rtol=1e-5, atol=1e-4)
    assert torch.allclose(
        kl_divergence(q, Standard(size)()).double(), kl_divergence(exact, Standard(size).double()()), rtol=1e-5
    )


@BOTH
def test_products_keep_full_precision_under_autocast(make):
    q, torchs = make()
    q = type(q)(q.loc.float(), q.log_scale.float(), q.factor.float())
    value = numbers(K, B, D, scale=3.0).float()
    with torch.autocast("cpu", torch.bfloat16):
        again = type(q)(q.loc, q.log_scale, q.factor)
        torch.manual_seed(0)
        z, density = again.rsample((K,)), again.log_prob(value)
    torch.manual_seed(0)
    assert torch.equal(z, q.rsample((K,)))
    assert z.dtype == density.dtype == torch.float32
    assert torch.allclose(density.double(), torchs.log_prob(value.double()), rtol=1e-4, atol=1e-3)


def test_a_point_has_no_spread_and_no_rate():
    q = Point(D)(numbers(B, D))
    assert isinstance(q, Delta)
    assert torch.equal(q.rsample((K,)), q.mean.expand(K, -1, -1))
    with pytest.raises(SettingError, match="infinite"):
        kl_divergence(q, Standard(D)())
