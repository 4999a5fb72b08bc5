"""Spheres and balls: densities against scipy and quadrature, gradients in the mean against closed forms."""

from math import log, pi

import numpy
import pytest
import torch
from scipy import special, stats
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from unveil.data import from_arrays
from unveil.distributions import HyperbolicNormal, SphericalUniform, SphericalVonMisesFisher
from unveil.distributions.hyperbolic import EDGE, add, from_tangent, inside, to_tangent
from unveil.distributions.von_mises_fisher import log_area, profile
from unveil.errors import SettingError
from unveil.generation import plane
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import (
    Bernoulli,
    Gaussian,
    LogMap,
    Net,
    PoincareNormal,
    Standard,
    UniformSphere,
    VonMisesFisher,
    WrappedNormal,
)


def direction(m, dtype=torch.float64):
    return F.normalize(torch.arange(1, m + 1, dtype=dtype).cos(), dim=0)


def fisher(m, kappa, dtype=torch.float64):
    return SphericalVonMisesFisher(direction(m, dtype), torch.tensor(kappa, dtype=dtype))


def near(values, exact, sigmas=4.0):
    """Whether the mean of independent rows (N, ...) is what it should be, but for `sigmas` standard errors."""
    gap, error = values.mean(0) - exact, values.std(0) / len(values) ** 0.5
    return bool((gap.abs() < sigmas * error + 1e-12).all())


def bessel_ratio(m, kappa):
    """E cos(theta) and its derivative, in closed form."""
    ratio = special.ive(m / 2, kappa) / special.ive(m / 2 - 1, kappa)
    return ratio, 1 - ratio**2 - (m - 1) / kappa * ratio


# the sphere


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


# the ball


def distances(q, z):
    return to_tangent(add(-q.loc, z, q.curvature), q.curvature).norm(dim=-1)


@pytest.mark.parametrize("curvature", [0.3, 1.0, 4.0])
def test_distance_is_the_ball_s_and_maps_undo_each_other(curvature):
    torch.manual_seed(5)
    x, y = (from_tangent(torch.randn(100, 3).double(), curvature) for _ in range(2))
    ratio = (x - y).square().sum(-1) / ((1 - curvature * x.square().sum(-1)) * (1 - curvature * y.square().sum(-1)))
    exact = torch.acosh(1 + 2 * curvature * ratio) / curvature**0.5
    found = to_tangent(add(-x, y, curvature), curvature)
    assert torch.allclose(found.norm(dim=-1), exact, atol=1e-9)
    assert torch.allclose(add(x, from_tangent(found, curvature), curvature), y, atol=1e-9)


@pytest.mark.parametrize("curvature", [0.2, 1.0, 3.0])
def test_the_density_integrates_to_one_over_the_disc(curvature):
    q = HyperbolicNormal(
        torch.tensor([0.25, -0.3], dtype=torch.float64), torch.tensor([-0.3, -0.9], dtype=torch.float64), curvature
    )
    # hyperbolic volume in polar coordinates around the origin: sinh(sqrt(c) r) / sqrt(c) dr d(angle)
    radius, weights = map(torch.from_numpy, numpy.polynomial.legendre.leggauss(400))
    most = 10.0 / curvature**0.5
    radius, weights = most * (radius + 1) / 2, most * weights / 2
    angle = torch.arange(400, dtype=torch.float64) * 2 * pi / 400
    points = from_tangent(radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1), curvature)
    volume = (weights * torch.sinh(curvature**0.5 * radius) / curvature**0.5)[:, None] * 2 * pi / 400
    assert (q.log_prob(points).exp() * volume).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("curvature", [0.1, 1.0])
def test_the_density_of_a_draw_is_what_the_way_back_finds(curvature):
    torch.manual_seed(6)
    q = WrappedNormal(3, curvature)(2 * torch.randn(200, 6))
    z, log_q = q.rsample_and_log_prob((5,))
    assert torch.allclose(log_q, q.log_prob(z), atol=2e-3)  # float32 coordinates near the rim
    exact = HyperbolicNormal(q.loc.double(), q.log_scale.double(), curvature)
    z, log_q = exact.rsample_and_log_prob((5,))
    assert torch.allclose(log_q, exact.log_prob(z), atol=1e-6)


def test_draws_are_as_far_from_their_point_as_the_scale_says():
    torch.manual_seed(7)
    q = HyperbolicNormal(torch.tensor([0.6, 0.5]).double(), torch.tensor([-0.4, 0.2]).double(), 1.0)
    assert near(distances(q, q.sample((40_000,))).square(), q.variance.sum())


def test_gradients_of_the_rate_are_unbiased_with_and_without_the_path_of_the_density():
    """E[log q - log p] against its exact value, by quadrature over the noise, and differentiated."""
    torch.manual_seed(8)
    raw = torch.tensor([0.4, -0.2, -0.3, -0.7], dtype=torch.float64)

    def posterior(raw):
        return HyperbolicNormal(from_tangent(raw[..., :2], 1.0), raw[..., 2:], 1.0)

    p = HyperbolicNormal(torch.zeros(2).double(), torch.zeros(2).double(), 1.0)
    nodes, weights = map(torch.from_numpy, numpy.polynomial.hermite_e.hermegauss(40))
    noise = torch.cartesian_prod(nodes, nodes)
    mass = torch.outer(weights, weights).flatten() / (2 * pi)
    one = raw.clone().requires_grad_()
    q = posterior(one)
    # the exact rate never meets the reparameterised draw: its density is written with cosh, the law of cosines, instead
    tangent = noise * q.log_scale.exp()
    length = tangent.norm(dim=-1)
    far = one[:2].norm()
    cosine = tangent @ one[:2] / (length * far)
    from_origin = torch.acosh(length.cosh() * far.cosh() + length.sinh() * far.sinh() * cosine)
    log_q = Normal(0, q.log_scale.exp()).log_prob(tangent).sum(-1) - (length.sinh() / length).log()
    log_p = -0.5 * from_origin.square() - log(2 * pi) - (from_origin.sinh() / from_origin).log()
    rate = (mass * (log_q - log_p)).sum()
    (exact,) = torch.autograd.grad(rate, one)
    many = raw.expand(40_000, 4).clone().requires_grad_()
    q = posterior(many)
    z, log_q = q.rsample_and_log_prob()
    for estimate in (log_q - p.log_prob(z), q.detach().log_prob(z) - p.log_prob(z)):
        assert near(estimate.detach(), rate.detach())
        assert near(torch.autograd.grad(estimate.sum(), many, retain_graph=True)[0], exact)


def test_without_curvature_it_is_the_normal():
    torch.manual_seed(9)
    curvature, loc, log_scale = 1e-8, torch.tensor([0.7, -0.4]).double(), torch.tensor([0.2, -0.3]).double()
    q = HyperbolicNormal(loc, log_scale, curvature)
    z = q.sample((100,))
    flat = Normal(2 * loc, log_scale.exp()).log_prob(2 * z).sum(-1)  # lengths are twice those of the picture
    assert torch.allclose(q.log_prob(z), flat, atol=1e-5)
    raw = torch.tensor([0.3, -0.5, 0.4, -1.0])
    head = WrappedNormal(2, curvature)(raw)
    assert torch.allclose(2 * head.mean, raw[:2], atol=1e-4)
    assert torch.allclose(head.stddev, Gaussian(2)(raw).stddev, rtol=1e-4)  # the scale's bound is far away, not gone
    assert to_tangent(z, curvature) == pytest.approx(2 * z, rel=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 20])
@pytest.mark.parametrize("curvature", [1e-3, 1.0, 50.0])
def test_ball_heads_at_absurd_parameters(dimensions, curvature):
    torch.manual_seed(10)
    head, p = WrappedNormal(dimensions, curvature), PoincareNormal(dimensions, 0.1, curvature)()
    signs = torch.randn(40, 2 * dimensions).sign()
    raw = torch.cat([s * signs for s in (0.0, 1e-20, 1.0, 100.0, 1e30)]).requires_grad_()
    q = head(raw)
    z, log_q = q.rsample_and_log_prob((50,))
    assert (curvature * z.double().square().sum(-1) < 1).all()
    total = z.sum() + log_q.sum() + q.log_prob(z).sum() + q.detach().log_prob(z).sum() + p.log_prob(z).sum()
    total.backward()
    assert total.isfinite()
    assert raw.grad.isfinite().all()
    # nothing was brought back from beyond the edge, where the density would no longer be the draw's
    assert (distances(p, z.double()).max() * curvature**0.5 < EDGE - 1e-3) or dimensions == 1


def test_the_density_is_finite_on_the_rim_and_beyond():
    q = HyperbolicNormal(torch.tensor([0.99, 0.0]), torch.tensor([-5.0, 0.0]), 1.0)
    z = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [3.0, 4.0], [1e20, 0.0], [0.99, 0.0]], requires_grad=True)
    density = q.log_prob(z)
    density.sum().backward()
    assert density.isfinite().all()
    assert z.grad.isfinite().all()
    edge = from_tangent(EDGE * torch.tensor([0.6, 0.8]).double(), 1.0)
    assert density[2].item() == pytest.approx(q.log_prob(edge).item(), rel=1e-3)


def test_the_log_map_tells_points_near_the_rim_apart_and_takes_points_outside():
    seen = LogMap(torch.nn.Identity(), 0.5)
    tangent = torch.tensor([[8.0, 0.0], [9.0, 0.0], [0.0, 0.0], [1e-6, 0.0]])
    points = from_tangent(tangent.double(), 0.5).float()
    assert torch.allclose(seen(points), tangent, rtol=1e-3)
    assert seen(torch.tensor([[5.0, 5.0]])).norm().item() == pytest.approx(EDGE / 0.5**0.5, rel=1e-3)
    assert inside(torch.zeros(2), 1.0).isfinite().all()


def test_curved_models_are_asked_for_what_they_can_be():
    for wrong in (
        lambda: VonMisesFisher(1),
        lambda: UniformSphere(1),
        lambda: WrappedNormal(0),
        lambda: WrappedNormal(2, 0.0),
    ):
        with pytest.raises(SettingError, match="give"):
            wrong()
    with pytest.raises(SettingError, match="less curvature"):
        PoincareNormal(2, 5.0, 1.0)
    with pytest.raises(SettingError, match="takes 4 parameters; the network gave 6"):
        VonMisesFisher(3)(torch.zeros(2, 6))
    with pytest.raises(SettingError, match="takes 6 parameters; the network gave 4"):
        WrappedNormal(3)(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("prior", "head"),
    [
        (Standard(3), VonMisesFisher(3)),
        (Standard(3), WrappedNormal(3)),
        (UniformSphere(3), Gaussian(3)),
        (PoincareNormal(3), Gaussian(3)),
        (PoincareNormal(3), VonMisesFisher(3)),
        (UniformSphere(3), WrappedNormal(3)),
        (PoincareNormal(3, curvature=0.5), WrappedNormal(3)),
    ],
)
def test_a_prior_and_a_posterior_of_different_spaces_have_no_rate(prior, head):
    """Their densities are with respect to different measures: the difference of their logarithms would be no rate."""
    torch.manual_seed(11)
    model = VAE(prior, Net(Mlp((1, 2, 2), (5,), head.needs((3,))), head), Net(Mlp((3,), (5,), (1, 2, 2)), Bernoulli(3)))
    batch = next(from_arrays(torch.rand(20, 1, 2, 2).round(), name="pixels").train.batches(4, 0))
    for gradient in ("pathwise", "sticking", "dreg", "score"):
        with pytest.raises(SettingError, match="there is no rate"):
            model.draw(batch, 2, gradient)


@pytest.mark.parametrize(("prior", "head"), [(UniformSphere(3), VonMisesFisher(3)), (PoincareNormal(3), WrappedNormal(3))])
def test_the_plane_that_is_shown_stays_in_the_curved_space(prior, head):
    """A flat plane through a sphere or a ball leaves it: what the decoder would be shown there is no z."""
    torch.manual_seed(12)
    model = VAE(prior, Net(Mlp((1, 2, 2), (5,), head.needs((3,))), head), Net(Mlp((3,), (5,), (1, 2, 2)), Bernoulli(3)))
    with torch.no_grad():
        means = model.encode(torch.rand(50, 1, 2, 2)).mean
        shown = plane(model, means)
        flat = shown.origin + (shown.prior[[0, -1]] @ shown.axes)
    support = model.prior().support
    grid = shown.grid(9)
    assert support.check(grid).all()
    assert torch.allclose(support.project(grid), grid, atol=1e-6)
    if isinstance(prior, UniformSphere):
        assert not support.check(flat).all()  # else this test could not fail
