"""Distributions against their densities, parts at extreme inputs, networks at odd sizes."""

from math import log

import pytest
import torch
from torch.distributions import Bernoulli as Torch
from torch.distributions import Independent, Normal, kl_divergence

from unveil.data import Batch
from unveil.distributions import DiagonalGaussian, IndependentBernoulli
from unveil.errors import SettingError
from unveil.networks import Centred, ConvDecoder, ConvEncoder, Mlp
from unveil.parts import Bernoulli, CrossEntropy, Gaussian, Isotropic, Net, Standard
from unveil.recipes import recipe


def test_our_bernoulli_is_torchs_in_value_and_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 2, 5, dtype=torch.float32, requires_grad=True)
    x = torch.rand(4, 2, 5).round()
    mine, theirs = IndependentBernoulli(logits, 2), Independent(Torch(logits=logits), 2)
    assert torch.allclose(mine.log_prob(x), theirs.log_prob(x.expand(3, 4, 2, 5)), atol=1e-5)
    weights = torch.randn(3, 4)
    gradients = [torch.autograd.grad((d.log_prob(x.expand(3, 4, 2, 5)) * weights).sum(), logits)[0] for d in (mine, theirs)]
    assert torch.allclose(*gradients, atol=1e-5)
    assert torch.allclose(mine.mean, theirs.mean)
    assert torch.allclose(mine.variance, theirs.variance)
    assert mine.expand((2, 3, 4)).log_prob(x).shape == (2, 3, 4)


def test_our_bernoulli_can_be_differentiated_twice():
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)

    def density(logits, x):
        value = torch.linalg.vecdot(logits, x) - torch.nn.functional.softplus(logits).sum(-1)
        return value.sum()

    def second(function):
        (first,) = torch.autograd.grad(function(logits, x), logits, create_graph=True)
        return torch.autograd.grad(first.square().sum(), logits)[0]

    from unveil.distributions.bernoulli import _LogDensity

    assert torch.autograd.gradcheck(_LogDensity.apply, (logits, x))
    assert torch.allclose(second(lambda a, b: _LogDensity.apply(a, b).sum()), second(density))


def test_samples_of_our_bernoulli_follow_its_density():
    torch.manual_seed(0)
    distribution = IndependentBernoulli(torch.tensor([-3.0, 0.0, 1.5]), 1)
    x = distribution.sample((100_000,))
    p = distribution.mean
    assert ((x.mean(0) - p) / (p * (1 - p) / 100_000).sqrt()).abs().max() < 4.5
    # the mean of log p over samples is minus the entropy
    log_p = distribution.log_prob(x)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum()
    assert abs(log_p.mean() + entropy) < 4 * log_p.std() / 100_000**0.5


def test_our_gaussian_is_torchs_in_value_gradient_and_divergence():
    torch.manual_seed(0)
    loc, log_scale, value = (torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True) for _ in range(3))
    other = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)

    def figures(q, p):
        return q.log_prob(value), q.entropy(), kl_divergence(q, p), kl_divergence(p, q), p.log_prob(value)

    mine = figures(DiagonalGaussian(loc, log_scale, 2), DiagonalGaussian(*other, 2))
    torchs = (Independent(Normal(mean, scale.exp()), 2) for mean, scale in ((loc, log_scale), other))
    for a, b in zip(mine, figures(*torchs), strict=True):
        assert a.shape == (3, 4)
        assert torch.allclose(a, b, atol=1e-10)
        gradients = [
            torch.autograd.grad(x.sum(), (loc, log_scale, value), retain_graph=True, allow_unused=True) for x in (a, b)
        ]
        for x, y in zip(*gradients, strict=True):
            assert (x is None and y is None) or torch.allclose(x, y, atol=1e-10)


@pytest.mark.parametrize("scale_shape", [(3,), ()])
def test_samples_of_our_gaussian_follow_its_density(scale_shape):
    torch.manual_seed(0)
    gaussian = DiagonalGaussian(torch.tensor([-1.0, 0.0, 2.0]), torch.full(scale_shape, 0.7).log(), 1)
    x = gaussian.rsample((100_000,))
    assert ((x.mean(0) - gaussian.mean) / (0.7 / 100_000**0.5)).abs().max() < 4.5
    assert ((x.var(0) / 0.49 - 1) / (2 / 100_000) ** 0.5).abs().max() < 4.5
    # the mean of log p over samples is minus the entropy
    log_p = gaussian.log_prob(x)
    assert abs(log_p.mean() + gaussian.entropy()) < 4 * log_p.std() / 100_000**0.5
    assert torch.equal(gaussian.stddev, torch.full((3,), 0.7))
    assert gaussian.expand((2, 6)).log_prob(x[0]).shape == (2, 6)


@pytest.mark.parametrize("head", [Gaussian((2, 3)), Isotropic(2), Bernoulli(2), CrossEntropy(2)])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e30])
def test_heads_stay_finite_whatever_the_network_says(head, size):
    parameters = size * torch.randn(4, 4 if isinstance(head, Gaussian) else 2, 3)
    parameters.requires_grad_(True)
    distribution = head(parameters)
    x = torch.rand(4, 2, 3).round()
    assert distribution.batch_shape == (4,)
    assert distribution.event_shape == (2, 3)
    log_p = distribution.log_prob(x)
    if size <= 1e3:
        log_p.sum().backward()
        assert torch.isfinite(log_p).all()
        assert torch.isfinite(parameters.grad).all()
    assert torch.isfinite(distribution.variance).all()
    assert torch.isfinite(distribution.sample()).all()


def test_cross_entropy_of_gray_is_the_mean_over_binarised_images():
    torch.manual_seed(0)
    gray, logits = torch.rand(6), torch.randn(6)
    distribution = CrossEntropy(1)(logits)
    binarised = (torch.rand(200_000, 6) < gray).float()
    log_p = distribution.log_prob(binarised)
    assert abs(log_p.mean() - distribution.log_prob(gray)) < 4 * log_p.std() / 200_000**0.5
    assert not CrossEntropy.normalised
    assert Bernoulli.normalised


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 7, 5), (2, 1, 9)])
@pytest.mark.parametrize("channels", [(4,), (4, 6, 8)])
def test_convolutions_fit_any_size(shape, channels):
    x = torch.randn(5, *shape)
    code = ConvEncoder(shape, channels, (6,))(x)
    assert code.shape == (5, 6)
    decoder = ConvDecoder((6,), channels[::-1], shape)
    assert decoder(code).shape == x.shape
    begin = torch.randn(shape)
    decoder.start_at(begin)
    decoder.last.weight.data.zero_()
    assert torch.allclose(decoder(code), begin.expand_as(x))


def test_a_centred_network_sees_deviations():
    network = Centred(torch.nn.Identity(), (3,), gain=0.5)
    network.centre_at(torch.tensor([1.0, 2.0, 3.0]))
    assert network(torch.tensor([[1.0, 2.0, 5.0]])).tolist() == [[0.0, 0.0, 1.0]]


def test_a_likelihood_begins_at_the_mean_of_the_data(digits):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=3, hidden=(20,)).compose(digits)
    draw = model.draw(next(digits.train.batches(50, 0)))
    mean = digits.train.mean()
    assert (draw.output.mean.mean((0, 1)) - mean).abs().mean() < 0.1


@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
@pytest.mark.parametrize("samples", [1, 4])
def test_a_draw_has_the_shapes_it_states_and_does_not_depend_on_how_the_batch_is_cut(network, samples, digits):
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=3, hidden=(20,), channels=(4, 4), network=network).compose(digits)
    batch = next(digits.train.batches(12, 0))
    torch.manual_seed(1)
    draw = model.draw(batch, samples)
    assert draw.z[0].shape == (samples, 12, 3)
    assert draw.log_px.shape == draw.log_mass.shape == draw.kl[0].shape == draw.log_w.shape == (samples, 12)
    assert draw.output.batch_shape == (samples, 12)
    assert torch.allclose(draw.log_mass.exp().sum(0), torch.ones(12))
    part = Batch(batch.x[:5], batch.index[:5], batch.size)
    assert torch.allclose(model.log_joint(part, draw.z[0][:, :5]), model.log_joint(batch, draw.z[0])[:, :5], atol=1e-4)
    loss = objective(draw, model, torch.tensor(9.0))
    assert loss.shape == (12,)
    loss.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_the_closed_form_rate_is_the_mean_of_the_sampled_one():
    torch.manual_seed(0)
    model = Net(Mlp((4,), (8,), (6,)), Gaussian(3))
    posterior, prior = model(torch.randn(1, 4)), Standard(3)()
    z = posterior.sample((200_000,))
    sampled = (posterior.log_prob(z) - prior.log_prob(z))[:, 0]
    closed = torch.distributions.kl_divergence(posterior, prior)[0]
    assert abs(sampled.mean() - closed) < 4 * sampled.std() / 200_000**0.5


def test_reparameterised_gradients_are_those_of_the_closed_form():
    """d E[z^4] for z ~ N(m, s): 4 m^3 + 12 m s^2 for the mean, (12 m^2 s^2 + 12 s^4) for log s."""
    torch.manual_seed(0)
    n, m, s = 200_000, 0.8, 0.7
    loc, log_scale = torch.full((n, 1), m, requires_grad=True), torch.full((n, 1), log(s), requires_grad=True)
    DiagonalGaussian(loc, log_scale).rsample().pow(4).sum().backward()
    exact = 4 * m**3 + 12 * m * s**2, 12 * m**2 * s**2 + 12 * s**4
    for leaf, value in zip((loc, log_scale), exact, strict=True):
        assert abs(leaf.grad.mean() - value) < 4 * leaf.grad.std() / n**0.5


def test_impossible_parts_say_what_to_do():
    for make in (
        lambda: Gaussian(0),
        lambda: Standard(-2),
        lambda: Isotropic(1, 0.0),
        lambda: recipe("vae").given(latent=0),
    ):
        with pytest.raises(SettingError, match="give"):
            make()
    with pytest.raises(SettingError, match=r"takes parameters of shape \(4,\)"):
        Gaussian(2)(torch.zeros(3, 6))
    for network in ("conv", "resnet"):
        with pytest.raises(SettingError, match=f"a {network} network needs images.*use network mlp"):
            recipe("vae").given(network=network).model.decoder((2,), (5,))
    with pytest.raises(SettingError, match="resnet cannot have 0 blocks at each size; give at least 1"):
        recipe("vae").given(blocks=0)
    with pytest.raises(SettingError, match=r"no activation 'tan'; .*tanh"):
        recipe("vae").given(activation="tan")
