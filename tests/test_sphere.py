"""Spheres: densities against SciPy and quadrature, gradients in the mean against closed forms."""

from math import log, pi

import numpy
import pytest
import torch
from helpers.curved import near
from scipy import special, stats
from torch.distributions import kl_divergence
from torch.nn import functional as F

from unveil.distributions import SphericalUniform, SphericalVonMisesFisher
from unveil.distributions.von_mises_fisher import log_area, profile
from unveil.parts import PoincareNormal, UniformSphere, VonMisesFisher, WrappedNormal


def direction(m, dtype=torch.float64):
    return F.normalize(torch.arange(1, m + 1, dtype=dtype).cos(), dim=0)


def fisher(m, kappa, dtype=torch.float64):
    return SphericalVonMisesFisher(direction(m, dtype), torch.tensor(kappa, dtype=dtype))


def bessel_ratio(m, kappa):
    """E cos(theta) and its derivative, in closed form."""
    ratio = special.ive(m / 2, kappa) / special.ive(m / 2 - 1, kappa)
    return ratio, 1 - ratio**2 - (m - 1) / kappa * ratio


@pytest.mark.parametrize("m", [2, 3, 10, 60])
@pytest.mark.parametrize("kappa", [1e-3, 0.5, 10.0, 300.0, 1e5])
def test_normaliser_and_its_gradients_are_those_of_bessel_functions(m, kappa):
    k = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
    normaliser, versine = profile(k, m)
    order = m / 2 - 1
    exact = -numpy.log(special.ive(order, kappa)) + order * log(kappa / 2) - special.gammaln(order + 1)
    ratio, slope = bessel_ratio(m, kappa)
    assert normaliser.item() == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert versine.item() == pytest.approx(1 - ratio, rel=1e-9)
    (first,) = torch.autograd.grad(normaliser, k, retain_graph=True)
    assert first.item() == pytest.approx(1 - ratio, rel=1e-9)
    (second,) = torch.autograd.grad(versine, k)
    assert second.item() == pytest.approx(-slope, rel=1e-5)  # the reference's own cancellation at large kappa


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [2, 3, 10, 60])
@pytest.mark.parametrize("kappa", [0.01, 30.0, 1e5])
def test_log_density_is_scipy_s(m, kappa, dtype):
    torch.manual_seed(0)
    q = fisher(m, kappa, dtype)
    z = q.sample((20,))
    exact = stats.vonmises_fisher(direction(m).numpy(), kappa).logpdf(F.normalize(z.double(), dim=-1).numpy())
    tolerance = 1e-8 if dtype == torch.float64 else 2e-4
    assert q.log_prob(z).numpy() == pytest.approx(exact, abs=tolerance, rel=tolerance)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 50.0])
def test_densities_integrate_to_one_over_circle_and_sphere(kappa):
    angle = torch.linspace(0, 2 * pi, 4001, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    area = 2 * pi / 4000
    assert fisher(2, kappa).log_prob(circle).exp().sum() * area == pytest.approx(1, abs=1e-9)
    assert SphericalUniform(torch.zeros(2)).log_prob(circle).exp().sum() * area == pytest.approx(1, abs=1e-6)
    nodes, weights = map(torch.from_numpy, numpy.polynomial.legendre.leggauss(200))
    ring = (1 - nodes.square()).sqrt()[:, None, None] * circle[::10]
    points = torch.cat([nodes[:, None, None].expand(-1, 400, 1), ring], -1)
    for q in (fisher(3, kappa), SphericalUniform(torch.zeros(3))):
        total = (q.log_prob(points).exp() * weights[:, None]).sum() * 2 * pi / 400
        assert total == pytest.approx(1, abs=1e-6)
    assert log_area(3) == pytest.approx(log(4 * pi))


@pytest.mark.parametrize(("m", "kappa"), [(2, 0.5), (2, 20.0), (3, 4.0), (10, 1e-3), (10, 60.0), (60, 40.0), (10, 1e5)])
def test_draws_lie_on_the_sphere_and_have_the_law_s_angle(m, kappa):
    torch.manual_seed(1)
    q = fisher(m, kappa)
    z = q.sample((20_000,))
    assert torch.allclose(z.norm(dim=-1), torch.ones(()).double(), atol=1e-9)
    ratio, variance = bessel_ratio(m, kappa)
    versine = 0.5 * (z - q.loc).square().sum(-1)
    assert near(versine, 1 - ratio)
    assert near((versine - (1 - ratio)).square(), variance)
    assert near(z, ratio * q.loc, 4.5)
    # one coordinate of the tangent direction, whose square has mean 1 / (m - 1)
    axis = F.normalize(torch.eye(m).double()[0] - q.loc[0] * q.loc, dim=0)
    assert near((z @ axis).square(), (2 * (1 - ratio) - variance - (1 - ratio) ** 2) / (m - 1))


@pytest.mark.parametrize(("m", "kappa"), [(2, 0.3), (2, 10.0), (3, 2.0), (5, 0.01), (10, 30.0), (60, 200.0), (10, 1e4)])
def test_gradient_of_the_expected_cosine_in_the_concentration_is_unbiased(m, kappa):
    """Reparameterising accepted proposals alone, as published code does, gives 0.69 of it at m = 3 and kappa = 2."""
    torch.manual_seed(2)
    k = torch.full((20_000,), kappa, dtype=torch.float64, requires_grad=True)
    z = SphericalVonMisesFisher(direction(m).expand(20_000, m), k).rsample()
    (slopes,) = torch.autograd.grad((z @ direction(m)).sum(), k)
    exact = bessel_ratio(m, kappa)[1]
    assert near(slopes, exact)
    assert slopes.std() / 20_000**0.5 < 0.05 * exact  # or the z-score would say little


def test_gradient_in_mean_direction_and_concentration_is_unbiased_for_a_curved_function():
    torch.manual_seed(3)
    n, m = 40_000, 3
    a, quadratic = torch.tensor([0.5, -1.0, 2.0]).double(), torch.diag(torch.tensor([1.0, -2.0, 0.5]).double())
    raw = torch.cat([direction(m), torch.tensor([log(4.0)]).double()]).expand(n, m + 1).clone().requires_grad_()
    q = SphericalVonMisesFisher(F.normalize(raw[:, :m], dim=-1), raw[:, m].exp())
    z = q.rsample()
    (slopes,) = torch.autograd.grad((z @ a + ((z @ quadratic) * z).sum(-1)).sum(), raw)
    one = raw[0].detach().clone().requires_grad_()
    mu, kappa = F.normalize(one[:m], dim=-1), one[m].exp()
    cosine = 1 - profile(kappa, m)[1]
    square = 1 - (m - 1) * cosine / kappa  # E cos(theta)^2
    across = (1 - square) / (m - 1)
    expected = cosine * mu @ a + (square - across) * mu @ quadratic @ mu + across * quadratic.trace()
    assert near(slopes, torch.autograd.grad(expected, one)[0])


@pytest.mark.parametrize(("m", "kappa"), [(2, 3.0), (3, 0.1), (10, 50.0), (60, 30.0)])
def test_closed_form_divergence_is_that_of_draws_and_has_its_gradient(m, kappa):
    torch.manual_seed(4)
    q, p = fisher(m, kappa), SphericalUniform(torch.zeros(m).double())
    z = q.sample((20_000,))
    assert near(q.log_prob(z) - p.log_prob(z), kl_divergence(q, p))
    q.concentration.requires_grad_()
    (slope,) = torch.autograd.grad(kl_divergence(q, p), q.concentration)
    assert slope.item() == pytest.approx(kappa * bessel_ratio(m, kappa)[1], rel=1e-6)


def test_divergence_vanishes_with_the_concentration_and_keeps_its_digits_in_float32():
    p = SphericalUniform(torch.zeros(10))
    for kappa in (0.0, 1e-3, 1e5):
        narrow, exact = fisher(10, kappa, torch.float32), fisher(10, kappa)
        found = kl_divergence(narrow, p).item()
        assert found == pytest.approx(kl_divergence(exact, p).item(), rel=1e-5, abs=1e-9)
        assert found == pytest.approx(kappa**2 / 20, abs=1e-9) or kappa > 1


def test_a_concentration_of_zero_is_uniform_with_finite_gradients():
    kappa = torch.zeros(1000, requires_grad=True)
    z = SphericalVonMisesFisher(direction(2, torch.float32).expand(1000, 2), kappa).rsample()
    z.sum().backward()
    assert kappa.grad.isfinite().all()
    assert near(z, 0.0)


def test_sphere_heads_at_absurd_parameters():
    head, p = VonMisesFisher(5), UniformSphere(5)()
    rows = [
        [0.0] * 6,
        [1e30] * 6,
        [-1e30] * 6,
        [1e-35, 0, 0, 0, 0, 50],
        [3e38, -3e38, 0, 0, 0, -1e9],
        [0, -1, 0, 0, 0, 1e9],
    ]
    raw = torch.tensor(rows, requires_grad=True)
    q = head(raw)
    z = q.rsample((50,))
    assert torch.allclose(z.norm(dim=-1), torch.ones(()), atol=1e-5)
    total = z.sum() + q.log_prob(z).sum() + q.detach().log_prob(z).sum() + kl_divergence(q, p).sum() + q.stddev.sum()
    total.backward()
    assert total.isfinite()
    assert raw.grad.isfinite().all()
    assert torch.equal(head(raw).mean, q.mean)


def test_sphere_heads_take_the_network_s_bfloat16_and_compute_in_float32():
    q = VonMisesFisher(4)(torch.randn(3, 5).bfloat16())
    z = q.rsample((2,))
    assert z.dtype == q.log_prob(z).dtype == kl_divergence(q, UniformSphere(4)()).dtype == q.stddev.dtype == torch.float32
    q = WrappedNormal(4)(torch.randn(3, 8).bfloat16())
    z, log_q = q.rsample_and_log_prob((2,))
    assert z.dtype == log_q.dtype == PoincareNormal(4)().log_prob(z).dtype == torch.float32
