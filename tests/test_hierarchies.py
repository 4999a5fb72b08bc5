"""Hierarchies against truth: a linear-Gaussian ladder, closed-form rates, gradients in the mean, and any image size."""

import pytest
import torch
from cases.hierarchies import dense
from torch.distributions import MultivariateNormal

from unveil.data import Batch, from_arrays
from unveil.errors import SettingError
from unveil.models import VAE, Group, Ladder
from unveil.networks import ConvBlock, ConvLadder, DenseLadder, Mlp, PixelDecoder, ResidualDecoder, ResidualEncoder
from unveil.objectives import Distortion, FreeBits, Iwae, Rate
from unveil.part import Part
from unveil.parts import Gaussian, Isotropic, Net, Standard
from unveil.recipes import recipe

E = (1, 6, 5)


class Copy(torch.nn.Module):
    """x (N, D) twice: the features of two layers."""

    def forward(self, x):
        return x, x


class Linear(torch.nn.Module):
    """A fixed linear map of all inputs side by side, which may pad its output by a constant."""

    def __init__(self, weight, constant=None):
        super().__init__()
        self.weight, self.constant = weight, constant

    def forward(self, *inputs):
        h = torch.cat(inputs, -1) @ self.weight.T
        return h if self.constant is None else torch.cat([h, self.constant.expand(*h.shape[:-1], -1)], -1)


W = torch.tensor([[0.8, -0.4, 1.0], [0.3, 0.9, -0.5], [0.5, 0.2, 0.7]])


def gaussian_ladder():
    """z_1 ~ N(0, 1), z_2 ~ N(0.7 z_1, 0.6^2), x = a z_1 + b z_2 + noise of scale 0.8, and a poor posterior.

    The state is (z_1, z_2), the second zero at first.
    """
    top = Linear(torch.tensor([[1.0], [0.0]]))
    prior = Linear(torch.tensor([[0.7, 0.0]]), torch.tensor([0.6]).log())
    posterior = Linear(torch.tensor([[-0.2, 0.0, 0.25, 0.2]]), torch.tensor([-0.3]))
    merge = Linear(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    first = Net(Linear(torch.tensor([[0.3, 0.3]]), torch.tensor([2 * -0.2])), Gaussian(1))
    likelihood = Net(Linear(W[:2, :2]), Isotropic(scale=0.8, learned=False))
    return Ladder(Standard(1), Copy(), first, top, [Group(prior, posterior, merge)], likelihood)


def evidence(x):
    """log p(x) of that ladder in closed form."""
    a, b = W[:2, 0].double(), W[:2, 1].double()
    # x = (a + 0.7 b) z_1 + 0.6 b e + noise
    mixing = torch.stack([a + 0.7 * b, 0.6 * b], 1)
    cov = mixing @ mixing.T + 0.64 * torch.eye(2).double()
    return MultivariateNormal(torch.zeros(2).double(), cov).log_prob(x.double())


def batch_of(x):
    return Batch(x, torch.arange(len(x)), len(x))


X = torch.tensor([[0.5, -0.3], [-1.0, 0.8]])


def test_the_mean_weight_is_the_evidence():
    torch.manual_seed(0)
    ratio = (gaussian_ladder().draw(batch_of(X), 60_000).log_w.double() - evidence(X)).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 60_000**0.5).all()
    assert (ratio.std(0) < 3).all()


def test_samples_follow_the_evidence():
    x = gaussian_ladder().sample(40_000, seed=0).double()
    scaled = MultivariateNormal(torch.zeros(2).double(), 0.5 * torch.eye(2).double())
    ratio = (scaled.log_prob(x) - evidence(x)).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 40_000**0.5


def test_the_closed_rates_are_those_of_the_draws():
    torch.manual_seed(0)
    model = gaussian_ladder()
    closed = model.draw(batch_of(X), 50_000)
    sampled = model.draw(batch_of(X), 50_000, "sticking")
    for layer, (one, other) in enumerate(zip(closed.kl, sampled.kl, strict=True)):
        error = (one.var(0) / 50_000 + other.var(0) / 50_000).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() < 4 * error).all()
        assert (one.std(0) < other.std(0)).all()
        assert (one.std(0) == 0).all() == (layer == 0)  # below, the closed form is that given the values drawn above


def test_each_conditional_rate_is_that_at_the_values_drawn_above():
    model = gaussian_ladder()
    draw = model.draw(batch_of(X), 3)
    z = draw.z[0][..., 0]
    shift = -0.2 * z + X @ torch.tensor([0.25, 0.2])
    scale = torch.tensor(-0.3)  # the bound is nearly the identity here: 5 tanh(-0.06)
    scale = 5 * torch.tanh(scale / 5)
    by_hand = 0.5 * ((2 * scale).exp() + shift.square() - 1) - scale
    assert torch.allclose(draw.kl[1], by_hand, atol=1e-4)


@pytest.mark.parametrize("gradient", ["pathwise", "sticking"])
def test_gradients_are_those_of_the_expected_bound(gradient):
    """Against finite differences of the bound, with common noise, of what moves every layer: the whole first posterior."""
    model = gaussian_ladder()
    weight = model.posterior.network.weight = torch.nn.Parameter(model.posterior.network.weight)
    batch = batch_of(X[:1].expand(20_000, 2))
    t = torch.tensor(0.0)

    def loss(move=None):
        torch.manual_seed(1)
        with torch.no_grad():
            weight.add_(0 if move is None else move)
        each = (Distortion() + Rate())(model.draw(batch, 1, "pathwise"), model, t).double()
        with torch.no_grad():
            weight.sub_(0 if move is None else move)
        return each.detach()

    step = torch.tensor([[1e-2, 0.0]])
    numeric = (loss(step) - loss(-step)) / 2e-2
    torch.manual_seed(2)
    x = batch.x.clone().requires_grad_()  # a gradient for each example: that of the weight is this, by the chain rule
    rows = weight.detach().expand(20_000, 1, 2).clone().requires_grad_()
    model.posterior.network.forward = lambda h: torch.cat(
        [(rows * h.unsqueeze(1)).sum(-1), torch.full((20_000, 1), -0.4)], -1
    )
    each = (Distortion() + Rate())(model.draw(batch_of(x), 1, gradient), model, t)
    (found,) = torch.autograd.grad(each.sum(), rows)
    found = found[:, 0, 0].double()
    error = (found.var() / 20_000 + numeric.var() / 20_000).sqrt()
    assert abs(found.mean() - numeric.mean()) < 4 * error
    assert abs(numeric.mean()) > 6 * error


def test_log_joint_of_all_layers_is_that_of_the_draw_and_of_one_layer_is_refused():
    torch.manual_seed(0)
    model = dense(groups=3)
    batch = batch_of(torch.rand(4, *E).round())
    draw = model.draw(batch, 3)
    assert torch.allclose(model.log_joint(batch, draw.z), draw.log_px + sum(draw.log_p), atol=1e-4)
    with pytest.raises(SettingError, match="all of z"):
        model.log_joint(batch, draw.z[0])


def test_a_ladder_of_one_layer_is_a_vae():
    torch.manual_seed(0)
    model = dense(groups=0)

    class First(Part):
        def forward(self, given=None, context=None, leading=1):
            return model.encode(given)

    class Below(Part):
        def forward(self, given=None, context=None, leading=1):
            return model.decode(given)

    batch = batch_of(torch.rand(4, *E).round())
    draws = []
    for one in (model, VAE(model.prior, First(), Below())):
        torch.manual_seed(1)
        draws.append(one.draw(batch, 5))
    assert torch.allclose(draws[0].log_w, draws[1].log_w, atol=1e-4)
    assert torch.allclose(draws[0].kl[0], draws[1].kl[0], atol=1e-5)


def test_the_other_layers_of_a_decoded_point_are_at_their_means():
    torch.manual_seed(0)
    model, z = dense(), torch.randn(2, 5, 3)
    state = model.top(z.flatten(0, 1))
    for group in model.groups:
        state, p = group(state)
        state = group.leave(state, p.mean)
    output = model.decode(z)
    assert output.batch_shape == (2, 5)
    assert torch.allclose(output.logits.flatten(0, 1), model.likelihood(state).logits, atol=1e-6)
    with pytest.raises(SettingError, match="first layer"):
        model.decode(torch.randn(2, 4))


def test_draws_do_not_mix_examples():
    """A row's log-density does not depend on its place among K draws and B examples, once the noise is the same."""
    torch.manual_seed(0)
    model, x = dense(), torch.rand(4, *E).round()
    draw = model.draw(batch_of(x), 3)
    for k in range(3):
        for b in range(4):
            z = tuple(layer[k : k + 1, b : b + 1] for layer in draw.z)
            alone = model.log_joint(batch_of(x[b : b + 1]), z)
            assert torch.allclose(alone[0, 0], draw.log_px[k, b] + sum(p[k, b] for p in draw.log_p), atol=1e-4)
    features = model.bottom_up(x)
    q = model.posterior(features[0])
    assert torch.allclose(draw.log_q[0], q.log_prob(draw.z[0]), atol=1e-5)
    state = model.top(draw.z[0][2])
    state, p = model.groups[0](state)
    q = model.groups[0].infer(state, features[1], p)
    assert torch.allclose(draw.log_q[1][2], q.log_prob(draw.z[1][2]), atol=1e-5)


def test_a_fresh_deep_stack_has_no_rate_below_the_first_layer_and_lets_gradient_through():
    torch.manual_seed(0)
    data = from_arrays((torch.rand(30, 1, 7, 9) * 255).to(torch.uint8), None, name="odd")
    model, objective = recipe("nvae-small").given(latent=3, channels=(4, 6), groups=6).compose(data)
    draw = model.draw(next(data.train.batches(5, 0)))
    assert len(draw.z) == 13
    assert all((kl.abs() < 1e-5).all() for kl in draw.kl[1:])
    objective(draw, model, torch.tensor(9.0)).sum().backward()
    lasts = [group.posterior.last.weight.grad for group in model.groups]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in lasts)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 8, 7), (1, 28, 28), (2, 1, 3)])
def test_convolutions_take_any_size(shape):
    torch.manual_seed(0)
    x = torch.rand(2, *shape)
    ladder = ConvLadder(shape, (4, 6), (2, 1))
    features = ladder(x)
    expected = ladder.shapes()
    assert [tuple(f.shape[1:]) for f in features] == [expected[1], expected[1], expected[0], expected[0]]
    assert PixelDecoder(expected[0], shape)(features[-1]).shape == x.shape
    z = ResidualEncoder(shape, (4, 6, 6), (5,))(x)
    assert z.shape == (2, 5)
    decoder = ResidualDecoder((5,), (6, 6, 4), shape)
    assert decoder(z).shape == x.shape
    decoder.start_at(torch.full(shape, 7.0))
    assert abs(decoder(torch.zeros(1, 5)).mean() - 7) < 2


def test_every_input_pixel_reaches_the_features_and_every_output_pixel_hangs_on_z():
    torch.manual_seed(0)
    x = torch.rand(1, *E, requires_grad=True)
    (grad,) = torch.autograd.grad(ResidualEncoder(E, (4, 4), (3,))(x).square().sum(), x)
    assert (grad != 0).all()
    (grad,) = torch.autograd.grad(ConvLadder(E, (4, 4), (1, 1))(x)[0].square().sum(), x)
    assert (grad != 0).all()
    moved = ResidualDecoder((3,), (4, 4), E)(torch.randn(2, 3))
    assert (moved[0] != moved[1]).all()


def test_fresh_residual_networks_neither_hush_nor_shout():
    """What is left where blocks begin at zero is a linear stack, in which torch's own weights lose almost half a layer."""
    torch.manual_seed(0)
    x, z = torch.randn(50, 1, 28, 28), torch.randn(50, 40)
    encoder, decoder = ResidualEncoder((1, 28, 28), (32, 64, 128), (3,)), ResidualDecoder((40,), (128, 64, 32), (1, 28, 28))
    h = x
    for down in encoder.down:
        h = down(h)
    assert 0.6 < h.std() < 1.4
    h = decoder.first(z).unflatten(1, (128, 4, 4))
    for rise in decoder.rise:
        h = rise(h)
    assert h.shape == (50, 32, 14, 14)
    assert 0.6 < h.std() < 1.4


def test_blocks_begin_at_zero_and_contexts_are_seen():
    torch.manual_seed(0)
    x, c = torch.rand(2, *E), torch.eye(2)
    assert not ConvBlock(1, 4, 3)(x).any()
    for network in (ResidualEncoder(E, (4,), (3,), 2), DenseLadder(E, 4, 2, 2), ConvLadder(E, (4,), (1,), 2)):
        one, other = (network(x[:1], given) for given in (c[:1], c[1:]))
        one, other = (part if isinstance(part, torch.Tensor) else part[0] for part in (one, other))
        assert not torch.equal(one, other)
        with pytest.raises(SettingError, match="context"):
            network(x)


def test_a_conditional_ladder_gives_each_draw_its_own_example_s_context():
    torch.manual_seed(0)
    plain = dense()
    model = Ladder(
        plain.prior,
        DenseLadder(E, 8, 3, context=2),
        plain.posterior,
        Mlp((3,), (), (8,), context=2),
        list(plain.groups),
        plain.likelihood,
    )
    x, context = torch.rand(4, *E).round(), torch.eye(2)[torch.tensor([0, 1, 1, 0])]
    batch = Batch(x, torch.arange(4), 4, context=context)
    draw = model.draw(batch, 3)
    one = Batch(x[1:2], torch.arange(1), 4, context=context[1:2])
    z = tuple(layer[2:, 1:2] for layer in draw.z)
    alone = model.log_joint(one, z)
    assert torch.allclose(alone[0, 0], draw.log_px[2, 1] + sum(p[2, 1] for p in draw.log_p), atol=1e-4)
    assert model.decode(draw.z[0], context).batch_shape == (3, 4)
    assert model.sample(5, context[0]).shape == (5, *E)
    assert not torch.equal(model.encode(x, context).mean, model.encode(x, 1 - context).mean)


def test_a_bound_rises_with_draws_and_terms_for_layers_read_every_layer():
    torch.manual_seed(0)
    model, batch, t = gaussian_ladder(), batch_of(X[:1].expand(4_000, 2)), torch.tensor(0.0)
    bounds = [-float(Iwae(k)(model.draw(batch, k), model, t).mean()) for k in (1, 4, 16)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < evidence(X[:1]) + 0.05
    draw = model.draw(batch)
    floors = FreeBits(50.0)(draw, model, t)
    assert torch.allclose(floors, torch.tensor(100.0))


def test_a_doubly_reparameterised_gradient_and_the_score_function_are_refused():
    model, batch = gaussian_ladder(), batch_of(X)
    with pytest.raises(SettingError, match="one layer"):
        Iwae(2, "dreg")(model.draw(batch, 2, "dreg"), model, torch.tensor(0.0))
    with pytest.raises(SettingError, match="score"):
        model.draw(batch, 2, "score")


def test_means_and_samples_of_a_seed_are_those_of_the_same_z(monkeypatch):
    monkeypatch.setattr("unveil.models.ladder.CHUNK", 4)
    torch.manual_seed(0)
    model = dense(head=Isotropic(3, scale=0.02, learned=False))
    mean, x = (model.sample(11, seed=3, mean=which) for which in (True, False))
    assert (mean - x).abs().max() < 0.12
    assert mean.std(0).mean() > 0.05  # and they do differ from one another
    with pytest.raises(SettingError, match="at least 1"):
        model.sample(0)
