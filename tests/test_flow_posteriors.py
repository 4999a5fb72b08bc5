"""Posteriors that are flows, against brute-force Jacobians and the importance identity."""

from math import prod

import pytest
import torch
from helpers.posteriors import B, D, K, numbers
from torch import nn
from torch.autograd.functional import jacobian

from unveil.data import Batch
from unveil.distributions import DiagonalGaussian, ForwardFlow
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.objectives import Distortion, Iwae, Rate
from unveil.parts import Flowed, Full, Gaussian, InverseAutoregressive, Isotropic, LowRank, Net, Planar, Radial, Standard


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
