"""Hamiltonian posteriors: volumes against brute-force Jacobians, weights against truth in closed form."""

from math import log

import pytest
import torch
from cases.basics import named
from test_exact import Affine, batch_of

import unveil.refit
from unveil.data import LinearGaussian
from unveil.distributions import DiagonalGaussian, Hamiltonian
from unveil.distributions.hamiltonian import FORCE, gradient
from unveil.errors import SettingError
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.objectives import Distortion, Iwae, Rate
from unveil.part import Part
from unveil.parts import (
    CentroidMomentum,
    EuclideanMomentum,
    Gaussian,
    HamiltonianPosterior,
    Isotropic,
    MixtureOfGaussians,
    Net,
    Riemannian,
    Standard,
)
from unveil.training.precision import autocast

D = 2


class Around(Part):
    """A base posterior that is wrong in place and width: the exact one, moved and narrowed or widened."""

    def __init__(self, truth, shift=0.3, width=1.2):
        super().__init__()
        self.truth, self.shift, self.width = truth, shift, width

    def forward(self, given=None, context=None, leading=1):
        exact = self.truth.posterior(given)
        return DiagonalGaussian(exact.mean.float() + self.shift, (self.width * exact.stddev.float()).log())


def metric(iterations=3, centroids=4):
    torch.manual_seed(3)
    centres, factors = torch.randn(centroids, D).double(), 0.5 * torch.randn(centroids, D, D).double()
    made = Riemannian(centres, factors, 1.5, 0.3, iterations)
    # products in float64: finite differences are compared below
    made.spreads, made.identity = factors @ factors.mT, torch.eye(D).double()
    return made


def bumpy(z):
    """A log-density with curvature that changes."""
    return -0.5 * z.square().sum(-1) - z[..., 0].sin() * z[..., 1] - 0.1 * z[..., 1] ** 4


MOMENTA = {"euclidean": EuclideanMomentum, "1 iteration": lambda: metric(1), "3 iterations": metric}


def chain(momentum, steps=3, cooling=0.6):
    zeros = torch.zeros(D).double()
    sizes = torch.tensor([[0.2, 0.1], [0.15, 0.2], [0.1, 0.1]]).double()[:steps]
    return Hamiltonian(DiagonalGaussian(zeros, zeros), momentum, sizes, torch.tensor(cooling).double()).refine(bumpy)


@pytest.mark.parametrize("momentum", MOMENTA.values(), ids=MOMENTA)
def test_the_log_determinant_is_that_of_the_whole_map(momentum):
    refined = chain(momentum())

    def whole(state):
        z, rho, _ = refined.move(state[:D], state[D:])
        return torch.cat([z, rho])

    for seed in range(5):
        state = torch.randn(2 * D, generator=torch.Generator().manual_seed(seed)).double()
        exact = torch.linalg.slogdet(torch.autograd.functional.jacobian(whole, state)).logabsdet
        assert refined.move(state[:D], state[D:])[2].item() == pytest.approx(-exact.item(), abs=1e-10)


def test_the_generalised_leapfrog_keeps_volumes_once_its_implicit_moves_are_solved():
    state = torch.randn(50, 2, D, generator=torch.Generator().manual_seed(0)).double()
    lost = []
    for iterations in (1, 3, 30):
        refined = chain(metric(iterations))
        refined.start.sizes = torch.full((3, D), 0.1).double()
        lost.append(refined.move(state[:, 0], state[:, 1])[2].abs().max().item())
    assert lost[0] > 5 * lost[1] > 1e-3
    assert lost[2] < 1e-9


def test_the_generalised_leapfrog_keeps_the_energy_to_third_order(monkeypatch):
    """Halving a step divides its error by eight: true of a leapfrog on the right energy, and of no other move."""
    monkeypatch.setattr("unveil.distributions.hamiltonian.FORCE", 1e12)
    made = metric(50)
    state = torch.randn(20, 2, D, generator=torch.Generator().manual_seed(1)).double()
    errors = []
    for size in (0.02, 0.01):
        refined = chain(made, steps=1, cooling=1.0)
        refined.start.sizes = torch.full((1, D), size).double()
        z, rho, _ = refined.move(state[:, 0], state[:, 1])
        before = bumpy(state[:, 0]) + made.log_prob(state[:, 0], state[:, 1])
        errors.append((bumpy(z) + made.log_prob(z, rho) - before).abs().mean().item())
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.15)


def test_a_metric_s_momentum_is_gaussian_with_the_inverse_of_the_inverse_metric():
    made = Riemannian(torch.randn(3, D), torch.randn(3, D, D), 1.5, 0.3)
    z = torch.tensor([0.2, -0.4])
    normal = torch.distributions.MultivariateNormal(torch.zeros(D), precision_matrix=made.inverse(z))
    rho, log_prob = made.draw(z.expand(20_000, D))
    assert torch.allclose(log_prob, normal.log_prob(rho), atol=1e-4)
    assert torch.allclose(made.log_prob(z.expand(20_000, D), rho), normal.log_prob(rho), atol=1e-4)
    whitened = (rho @ torch.linalg.cholesky(made.inverse(z))).square().sum(-1)
    assert abs(whitened.mean() - D) < 4 * whitened.std() / 20_000**0.5


def model_of(truth, momentum, base=None, **settings):
    base = base or Around(truth)
    posterior = HamiltonianPosterior(base, momentum(base), D, steps=3, size=0.2, largest=0.5, **settings)
    return VAE(Standard(D), posterior, Net(Affine(truth), Isotropic(scale=truth.scale, learned=False)))


def curved(base):
    made = CentroidMomentum(base, D, 4, temperature=1.5, floor=0.5)
    torch.manual_seed(5)
    made.centres.copy_(torch.randn(4, D))
    return made


WAYS = {"euclidean": lambda base: EuclideanMomentum(), "metric": curved}


@pytest.mark.parametrize("cooling", [0.7, 0.95])
@pytest.mark.parametrize("momentum", WAYS.values(), ids=WAYS)
def test_the_mean_weight_is_the_evidence_and_better_than_the_base_s(momentum, cooling):
    truth = LinearGaussian.draw(4, D, scale=1.0)
    batch = batch_of(truth, 2)
    exact = truth.log_likelihood(batch.x)
    model = model_of(truth, momentum, cooling=cooling)
    torch.manual_seed(0)
    with torch.no_grad():
        log_w = model.draw(batch, samples=40_000).log_w.double()
        plain = VAE(model.prior, model.posterior.posterior, model.likelihood).draw(batch, samples=40_000).log_w.double()
    ratio = (log_w - exact).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 40_000**0.5).all()
    assert (ratio.std(0) < 4).all()  # or the identity would say little
    if cooling == 0.95:
        assert (log_w.mean(0) > plain.mean(0)).all()


def test_without_steps_of_any_size_the_weight_is_the_base_s():
    truth = LinearGaussian.draw(4, D)
    batch = batch_of(truth, 3)
    model = model_of(truth, WAYS["euclidean"])
    with torch.no_grad():
        model.posterior.raw_sizes.fill_(-50.0)
    draw = model.draw(batch, samples=5)
    base = model.posterior.posterior(batch.x)
    assert torch.allclose(draw.log_q[0], base.log_prob(draw.z[0]), atol=1e-4)


def slope_of(loss, parameter, direction, step):
    """The derivative of `loss()` along `direction`, by central differences."""
    with torch.no_grad():
        parameter += step * direction
        up = loss()
        parameter -= 2 * step * direction
        down = loss()
        parameter += step * direction
    return ((up - down) / (2 * step)).item()


@pytest.mark.parametrize("momentum", WAYS.values(), ids=WAYS)
def test_values_are_the_same_without_gradients_and_gradients_are_those_of_finite_differences(momentum):
    truth = LinearGaussian.draw(4, D)
    batch = batch_of(truth, 3)
    model = model_of(truth, momentum)

    def loss():
        torch.manual_seed(0)
        return Iwae(2)(model.draw(batch, 2), model, torch.tensor(0.0)).double().sum()

    value = loss()
    with torch.no_grad():
        assert torch.allclose(loss(), value, atol=1e-5)
    learned = [p for p in model.posterior.parameters() if p.requires_grad]
    assert len(learned) == (2 if momentum is not curved else 3)
    gradients = torch.autograd.grad(value, learned)
    for parameter, slope in zip(learned, gradients, strict=True):
        direction = torch.sign(slope)
        found = slope_of(loss, parameter, direction, 1e-2 / parameter.numel())
        assert found == pytest.approx((slope * direction).sum().item(), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("momentum", WAYS.values(), ids=WAYS)
def test_a_prior_is_fitted_by_the_whole_bound_since_the_posterior_follows_it(momentum):
    """The gradient of -ELBO in the prior's weights goes through the steps that its density bends, hence through x too."""
    truth = LinearGaussian.draw(4, D)
    batch = batch_of(truth, 3)
    model = model_of(truth, momentum)
    torch.manual_seed(1)
    model.prior = MixtureOfGaussians(D, 2)
    _, objective = unveil.refit._prepared(model, MixtureOfGaussians(D, 2), truth.dataset(50), 0)
    assert [type(term) for term in objective.terms] == [Distortion, Rate]

    def loss(term=objective):
        torch.manual_seed(0)
        return term(model.draw(batch, 2), model, torch.tensor(0.0)).double().sum()

    centres = model.prior.means
    (slope,) = torch.autograd.grad(loss(), centres)
    direction = slope.sign()
    assert slope_of(loss, centres, direction, 1e-3) == pytest.approx((slope * direction).sum().item(), rel=2e-2)
    (alone,) = torch.autograd.grad(loss(Rate()), centres)
    assert (slope - alone).norm() > 0.02 * slope.norm()  # of the rate alone it would be another


def test_a_bounded_force_is_the_gradient_where_that_is_small():
    z = torch.tensor([[1.0, 2.0]])
    assert torch.allclose(gradient(lambda z: -z.square().sum(-1), z), -2 * z, rtol=1e-4)
    assert gradient(lambda z: 1e8 * z.sum(-1), z).norm() <= FORCE


def test_centroids_move_only_before_an_epoch_and_lie_at_posterior_means(tiny):
    torch.manual_seed(0)
    model, _ = named("rhvae", centroids=5)(tiny)
    part = model.posterior.momentum
    assert not part.centres.any()
    part.prepare(tiny.train, 0.0)
    rows = torch.linspace(0, len(tiny.train) - 1, 5).long()
    x = tiny.train.reading.mean(tiny.train.values[rows])
    assert torch.allclose(part.centres, model.encode(x).mean)


def test_a_metric_works_where_products_run_in_bfloat16(tiny):
    torch.manual_seed(0)
    model, objective = named("rhvae", centroids=5)(tiny)
    batch = next(tiny.train.batches(6, 0))
    with autocast("bfloat16", torch.device("cpu")):
        loss = objective(model.draw(batch), model, torch.tensor(9.0))
    loss.sum().backward()
    assert loss.isfinite().all()


def test_a_metric_at_no_number_is_none_and_raises_nothing():
    made = Riemannian(torch.randn(3, D), torch.randn(3, D, D), 1.5, 0.3)
    z = torch.tensor([[0.2, -0.4], [torch.nan, 0.0]])
    rho, log_prob = made.draw(z)
    assert rho.isfinite().all(1).tolist() == log_prob.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("name", ["hvae", "rhvae"])
def test_a_trained_chain_can_be_evaluated(name, tiny):
    model, _ = named(name, latent=2)(tiny)
    found = evaluate(model, tiny.test, samples=4, images=5)
    assert 0 < found.nll.value < 100


def test_what_cannot_be_is_said():
    truth = LinearGaussian.draw(4, D)
    draw = model_of(truth, WAYS["euclidean"]).draw(batch_of(truth, 2))
    with pytest.raises(SettingError, match="own draws alone"):
        draw.posterior.log_prob(draw.z[0])
    base = Net(Affine(truth), Gaussian(D))
    for wrong in ({"steps": 0}, {"size": 0.5}, {"cooling": 1.0}):
        with pytest.raises(SettingError):
            HamiltonianPosterior(base, EuclideanMomentum(), D, **wrong)
    with pytest.raises(SettingError):
        CentroidMomentum(base, D, centroids=0)


def test_the_euclidean_chain_is_the_published_one():
    """log_q of one step by hand, with the momentum at temperature 1 / beta_0 as in the paper."""
    refined = chain(EuclideanMomentum(), steps=1, cooling=0.6)
    torch.manual_seed(0)
    z, log_q = refined.rsample_and_log_prob((7,))
    torch.manual_seed(0)
    start = refined.start.base.rsample((7,))
    gamma = torch.randn_like(start)
    rho, size = gamma / 0.6, refined.start.sizes[0]
    rho = rho + size / 2 * gradient(bumpy, start)
    end = start + size * rho
    rho = (rho + size / 2 * gradient(bumpy, end)) * 0.6
    hot = torch.distributions.Normal(torch.zeros(D).double(), 1 / 0.6).log_prob(gamma / 0.6).sum(-1)
    published = refined.start.base.log_prob(start) + hot - D / 2 * log(0.36)
    assert torch.allclose(z, end)
    target = torch.distributions.Normal(torch.zeros(D).double(), 1.0).log_prob(rho).sum(-1)
    assert torch.allclose(log_q, published - target)
