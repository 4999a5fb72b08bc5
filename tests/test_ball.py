"""Balls of hyperbolic space: distances, densities against quadrature, gradients in the mean against exact ones."""

from math import log, pi

import numpy
import pytest
import torch
from helpers.curved import near
from torch.distributions import Normal

from unveil.distributions import HyperbolicNormal
from unveil.distributions.hyperbolic import EDGE, add, from_tangent, inside, to_tangent
from unveil.parts import Gaussian, LogMap, PoincareNormal, WrappedNormal


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
