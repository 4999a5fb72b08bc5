"""Posteriors in flat space against torch's own densities, brute-force Jacobians and the importance identity."""

from math import prod

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from unveil.data import Batch
from unveil.distributions import Delta, DiagonalGaussian, ForwardFlow, FullGaussian, LowRankGaussian
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import (
    Flowed,
    Full,
    Gaussian,
    InverseAutoregressive,
    Isotropic,
    LowRank,
    Net,
    Planar,
    Point,
    Radial,
    Standard,
)

B, D, K, R = 5, 4, 6, 2


def numbers(*shape, scale=1.0, seed=0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


# flows


def randomised(layer):
    """The layer in float64 with weights that matter."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return layer.double()


LAYERS = {
    "planar": lambda d=D: Planar(d),
    "radial": lambda d=D: Radial(d),
    "iaf": lambda d=D: InverseAutoregressive(d, (16,), 3),
    "iaf-backwards": lambda d=D: InverseAutoregressive(d, (16, 12), 3, backwards=True),
}
EVERY = pytest.mark.parametrize("name", list(LAYERS))


def maps(name, scale=1.5, size=D):
    """A layer as a function of one z, and its Jacobian, for many z and parameters."""
    layer = randomised(LAYERS[name](size))
    for seed in range(20):
        own = numbers(layer.parameters_needed, scale=scale, seed=seed)
        z = numbers(size, seed=100 + seed)
        yield layer, z, own, jacobian(lambda z, layer=layer, own=own: layer(z, own)[0], z)


@EVERY
@pytest.mark.parametrize("size", [1, 2, D])
def test_a_layer_s_determinant_is_that_of_its_jacobian(name, size):
    for layer, z, own, derivative in maps(name, size=size):
        _, log_det = layer(z, own)
        assert torch.allclose(log_det, torch.linalg.slogdet(derivative).logabsdet, atol=1e-8)


@EVERY
def test_no_parameters_turn_a_layer_inside_out(name):
    """A planar map with w'u < -1 has a negative determinant near its plane."""
    for layer, z, own, derivative in maps(name, scale=4.0):
        assert torch.linalg.det(derivative) > 0
        if isinstance(layer, Planar):
            w, b = own[D : 2 * D], own[-1]
            on = z - (w @ z + b) * w / (w @ w)
            assert torch.linalg.det(jacobian(lambda z, layer=layer, own=own: layer(z, own)[0], on)) > 0
        if isinstance(layer, Radial):
            near = own[:D] + 1e-9
            assert torch.linalg.det(jacobian(lambda z, layer=layer, own=own: layer(z, own)[0], near)) > 0


@EVERY
def test_layers_map_draws_of_a_batch_by_each_example_s_own_parameters(name):
    layer = randomised(LAYERS[name]())
    own, z = numbers(B, layer.parameters_needed), numbers(K, B, D, seed=1)
    image, log_det = layer(z, own)
    assert log_det.shape == (K, B)
    for k in range(K):
        for b in range(B):
            alone, its = layer(z[k, b], own[b])
            assert torch.allclose(alone, image[k, b])
            assert torch.allclose(its, log_det[k, b])


@pytest.mark.parametrize("name", ["planar", "radial"])
def test_zero_parameters_mean_the_identity(name):
    layer, z = LAYERS[name](), numbers(K, D)
    image, log_det = layer(z, torch.zeros(layer.parameters_needed, dtype=torch.float64, requires_grad=True))
    assert torch.allclose(image, z)
    assert torch.allclose(log_det, torch.zeros(K, dtype=torch.float64), atol=1e-12)


@EVERY
@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_layers_and_their_gradients_stay_finite_at_absurd_parameters(name, scale):
    layer = LAYERS[name]()
    own = (scale * torch.randn(200, layer.parameters_needed)).requires_grad_()
    z = (scale * torch.randn(200, D)).requires_grad_()
    image, log_det = layer(z, own)
    gradients = torch.autograd.grad(image.sum() + log_det.sum(), [z, own])
    for found in (image, log_det, *gradients):
        assert found.isfinite().all()


def test_a_planar_map_that_nearly_folds_space_still_has_a_determinant_on_its_plane():
    u, w, b = -1e5, 1e4, 0.0
    _, log_det = Planar(1)(torch.zeros(1), torch.tensor([u, w, b]))
    assert torch.allclose(log_det, -torch.tensor(1 + 1e9).log())


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("hidden", [(16,), (16, 9)])
def test_each_dimension_moves_by_all_of_those_before_it_and_by_no_other(backwards, hidden):
    layer = randomised(InverseAutoregressive(D, hidden, 3, backwards))
    derivative = jacobian(lambda z: layer(z, numbers(3))[0], numbers(D))
    seen = derivative.abs() > 1e-9
    expected = torch.ones(D, D, dtype=torch.bool).tril()
    assert torch.equal(seen, expected.T if backwards else expected)
    # every dimension, the first one too, listens to the context
    assert (jacobian(lambda h: layer(numbers(D), h)[0], numbers(3)).abs().sum(-1) > 1e-9).all()


def mixture(names, size=D, scale=1.0):
    """A flow posterior over (2,) examples in float64 through the named layers, with random numbers for all."""
    layers = [randomised(LAYERS[name](size)) for name in names]
    own = [numbers(2, layer.parameters_needed, scale=scale, seed=seed) for seed, layer in enumerate(layers)]
    base = DiagonalGaussian(numbers(2, size, seed=50), numbers(2, size, scale=0.3, seed=51))
    steps = zip(layers, own, strict=True)
    return ForwardFlow(base, [lambda z, layer=layer, own=own: layer(z, own) for layer, own in steps])


CHAINS = pytest.mark.parametrize("names", [["planar"] * 3, ["radial"] * 3, ["iaf", "iaf-backwards"], list(LAYERS)])


@CHAINS
def test_a_traced_density_is_the_base_s_over_the_determinant_of_the_whole_way(names):
    q = mixture(names)
    torch.manual_seed(0)
    z, log_q = q.rsample_and_log_prob((3,))
    torch.manual_seed(0)
    start = q.base.rsample((3,))
    # all draws and examples at once: the Jacobian is block-diagonal, for nothing crosses over

    def whole(start):
        for each in q.maps:
            start, _ = each(start)
        return start

    derivative = jacobian(whole, start)
    for k in range(3):
        for b in range(2):
            crossing = derivative[k, b].clone()
            crossing[:, k, b] = 0
            assert (crossing == 0).all()
            expected = q.base.log_prob(start)[k, b] - torch.linalg.slogdet(derivative[k, b, :, k, b]).logabsdet
            assert torch.allclose(log_q[k, b], expected, atol=1e-8)
    assert torch.allclose(z, whole(start))
    assert torch.equal(q.mean, whole(q.base.mean))
    assert torch.equal(q.stddev, q.base.stddev)


@CHAINS
def test_draws_of_a_flow_follow_their_traced_density(names):
    """The mean of r(z) / q(z) is 1 only if q is one density and the maps overlap nowhere."""
    torch.manual_seed(0)
    q, n = mixture(names, size=2), 100_000
    with torch.no_grad():
        z, log_q = q.rsample_and_log_prob((n,))
        r = DiagonalGaussian(z.mean(0), (0.5 * z.std(0)).log())
        ratio = (r.log_prob(z) - log_q).exp()
    assert ((ratio.mean(0) - 1) / (ratio.std(0) / n**0.5)).abs().max() < 4.5
    assert ratio.std() < 20


def small(head):
    return VAE(Standard(2), Net(nn.Linear(3, prod(head.needs((2,)))), head), Net(nn.Linear(2, 3), Isotropic()))


FLOWED = [[Planar(2), Radial(2)], [InverseAutoregressive(2, (8,), 3)]]


@pytest.mark.parametrize("layers", FLOWED)
def test_gradients_that_need_a_formula_are_refused_under_a_flow(layers):
    model = small(Flowed(Gaussian(2), layers))
    batch = Batch(torch.randn(B, 3), torch.arange(B), B)
    with pytest.raises(SettingError, match="pathwise"):
        model.draw(batch, 4, "sticking")
    with pytest.raises(SettingError, match="pathwise"):
        model.draw(batch, 4, "dreg")
    with pytest.raises(SettingError, match="pathwise"):
        _ = model.draw(batch, 4, "score").log_q
    with pytest.raises(SettingError, match="own draws"):
        model.encode(batch.x).log_prob(torch.zeros(B, 2))
    draw = model.draw(batch, 4)
    assert torch.equal(draw.kl[0], draw.log_q[0] - draw.log_p[0])
    loss = (Distortion() + Rate())(draw, model, torch.tensor(0.0)) + Iwae(4)(draw, model, torch.tensor(0.0))
    loss.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_one_network_gives_the_numbers_of_base_and_layers():
    head = Flowed(LowRank(2, 1), [Planar(2), Radial(2), InverseAutoregressive(2, (8,), 3)])
    assert head.needs((2,)) == (6 + 5 + 4 + 3,)
    raw = torch.randn(B, 18)
    q = head(raw)
    assert torch.equal(q.base.loc, raw[:, :2])
    torch.manual_seed(0)
    z = q.rsample((K,))
    torch.manual_seed(0)
    by_hand = q.base.rsample((K,))
    for layer, own in zip(head.layers, raw[:, 6:].split([5, 4, 3], -1), strict=True):
        by_hand, _ = layer(by_hand, own)
    assert torch.equal(z, by_hand)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Full(0),
        lambda: LowRank(4, 5),
        lambda: LowRank(4, 0),
        lambda: Full(4)(torch.zeros(B, 13)),
        lambda: LowRank(4, 2)(torch.zeros(B, 13)),
        lambda: Planar(0),
        lambda: InverseAutoregressive(4, ()),
        lambda: InverseAutoregressive(4, (0,)),
        lambda: InverseAutoregressive(4, (8,), 0),
        lambda: Flowed(Gaussian(4), [Planar(4), Planar(3)]),
        lambda: Flowed(Gaussian(4), [Planar(3)])(torch.zeros(B, 15)),
        lambda: Flowed(Gaussian(4), [Planar(4)])(torch.zeros(B, 9)),
        lambda: Flowed(Gaussian(4), [Planar(4)])(torch.zeros(B, 14)),
    ],
)
def test_what_cannot_be_is_said(wrong):
    with pytest.raises(SettingError):
        wrong()
