"""torch.distributions as parts: priors that are what they were given, heads of a family, and both in files."""

import json

import pytest
import torch
from helpers.runs import linear_model, real_data
from torch import nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Cauchy,
    Dirichlet,
    Gamma,
    Gumbel,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    TransformedDistribution,
    Uniform,
    VonMises,
    kl_divergence,
)
from torch.distributions.transforms import ExpTransform

import unveil
from unveil.data import Batch, from_arrays
from unveil.distributions import DiagonalGaussian
from unveil.errors import RunError, SettingError
from unveil.generation import interpolate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.opening import KNOWN
from unveil.parts import Constant, Family, Gaussian, Isotropic, Net, Standard
from unveil.parts.families import FAMILIES, MEASURES, parameters_of
from unveil.store import build, describe, fill
from unveil.training.average import state_of

SETTINGS = {"epochs": 4, "batch_size": 50, "learning_rate": 0.01}


def vector(kind, *parameters):
    return Independent(kind(*map(torch.tensor, parameters)), 1)


PRIORS = {
    "normal": lambda: vector(Normal, [0.5, -1.0], [0.5, 2.0]),
    "laplace": lambda: vector(Laplace, [0.0, 1.0], [1.0, 2.0]),
    "student": lambda: vector(StudentT, [3.0, 5.0], [0.0, 1.0], [1.0, 2.0]),
    "log-normal": lambda: vector(LogNormal, [0.0, 1.0], [1.0, 0.5]),
    "gumbel": lambda: vector(Gumbel, [0.0, 1.0], [1.0, 0.5]),
    "beta": lambda: vector(Beta, [2.0, 3.0], [2.0, 0.5]),
    "uniform": lambda: vector(Uniform, [0.0, -1.0], [1.0, 1.0]),
    "dirichlet": lambda: Dirichlet(torch.tensor([2.0, 1.0, 3.0])),
    "full": lambda: MultivariateNormal(torch.zeros(2), torch.tensor([[2.0, 0.5], [0.5, 1.0]])),
    "low-rank": lambda: LowRankMultivariateNormal(torch.zeros(3), torch.randn(3, 1), torch.ones(3)),
    "mixture": lambda: MixtureSameFamily(
        Categorical(torch.tensor([0.2, 0.8])), Independent(Normal(torch.randn(2, 3), torch.ones(2, 3)), 1)
    ),
    "mixture-of-full": lambda: MixtureSameFamily(
        Categorical(logits=torch.randn(4)), MultivariateNormal(torch.randn(4, 2), torch.eye(2).expand(4, 2, 2))
    ),
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_distribution_becomes_a_part_that_is_the_same_and_stays_so_in_a_file(name):
    torch.manual_seed(0)
    given = PRIORS[name]()
    part = Constant(given)
    spec = json.loads(json.dumps(describe(part=part)))
    again = build(spec, KNOWN)["part"]
    fill(again, state_of(part), "here")
    z = given.sample((50,))
    for prior in (part, again):
        found = prior(torch.arange(7), None)
        assert (found.batch_shape, found.event_shape) == (torch.Size([]), given.event_shape)
        assert torch.allclose(found.log_prob(z), given.log_prob(z), atol=1e-4)
        assert found.sample((5,)).shape == (5, *given.event_shape)
    assert describe(part=again) == describe(part=part)
    assert list(part.parameters()) == []
    assert part.double()().sample().dtype == torch.float64


def test_independent_gaussians_are_those_that_have_closed_forms_here():
    prior = Constant(vector(Normal, [0.0] * 3, [1.0] * 3))()
    assert isinstance(prior, DiagonalGaussian)
    standard, q = Standard(3)(), DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3))
    assert torch.allclose(kl_divergence(q, prior), kl_divergence(q, standard))
    linear, theirs = linear_model()[0], vector(Normal, [0.0] * 2, [1.0] * 2)
    models = [VAE(one, linear.posterior, linear.likelihood) for one in (Standard(2), theirs)]
    batch = Batch(torch.randn(4, 3), torch.arange(4), 4)
    draws = []
    for model in models:
        torch.manual_seed(0)
        draws.append(model.draw(batch))
    assert torch.allclose(draws[0].rate, draws[1].rate)
    assert torch.allclose(draws[0].log_w, draws[1].log_w)
    a, b = torch.randn(2, 2)
    assert torch.equal(*(interpolate(model, a, b, 5) for model in models))


def test_a_prior_is_over_one_z_known_and_not_to_be_learned():
    with pytest.raises(SettingError, match=r"Normal of batch shape \(2,\) .*not over one z; give Independent\(Normal\("):
        Constant(Normal(torch.zeros(2), torch.ones(2)))
    with pytest.raises(SettingError, match="is not over one z"):
        Constant(Normal(0.0, 1.0))
    with pytest.raises(SettingError, match=r"no family 'TransformedDistribution'.*a head or a prior of your own"):
        Constant(Independent(TransformedDistribution(Normal(torch.zeros(2), torch.ones(2)), [ExpTransform()]), 1))
    with pytest.raises(SettingError, match=r"Normal has parameters that are to be learned.*detach them"):
        Constant(Independent(Normal(nn.Parameter(torch.zeros(2)), torch.ones(2)), 1))

    class Own(Laplace):
        pass

    with pytest.raises(SettingError, match="no family 'Own'"):
        Constant(Independent(Own(torch.zeros(2), torch.ones(2)), 1))


@pytest.mark.parametrize(
    "said",
    [
        ["os.system", [2]],
        ["Independent", ["os.system", [2]], 1],
        ["Normal", [-1], [2]],
        ["Normal", "xy", [2]],
        ["Normal", [2]],
        ["Independent"],
        ["MixtureSameFamily", 3],
        [],
        [[], 1],
    ],
)
def test_a_hostile_distribution_is_refused(said):
    with pytest.raises(RunError):
        build({"parts": [{"type": "Constant", "arguments": {"distribution": said}}], "roots": {"a": 0}}, KNOWN)


SINGLE = [name for name, kind in FAMILIES.items() if kind.support in MEASURES]
X = {"real": 1.5, "unit": 0.3, "binary": 1.0, "count": 3.0}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_a_family_gives_finite_densities_and_gradients_whatever_the_network_says(name, size):
    torch.manual_seed(0)
    head = Family(name, event_dims=3)
    count = len(parameters_of(FAMILIES[name]))
    assert head.needs((2, 3, 4)) == (2 * count, 3, 4)
    raw = (size * torch.randn(5, 2 * count, 3, 4)).requires_grad_()
    p = head(raw)
    assert (p.batch_shape, p.event_shape) == ((5,), (2, 3, 4))
    x = torch.full((5, 2, 3, 4), X[head.measures[0]])
    nats = p.log_prob(x)
    assert not nats.isnan().any()
    if size == 1.0:
        assert nats.isfinite().all()
        (gradient,) = torch.autograd.grad(nats.sum(), raw)
        assert gradient.isfinite().all()
        assert (gradient != 0).any()
        assert p.sample().isfinite().all()


def test_a_family_s_parameters_are_what_torch_s_transforms_make_of_the_network_s_numbers():
    raw = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    loc, scale = raw.chunk(2, -1)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    expected = Independent(Laplace(loc, (6 * torch.tanh(scale / 6)).exp()), 1).log_prob(x)
    assert torch.allclose(Family(Laplace)(raw).log_prob(x), expected)
    x = (x > 0).float()
    assert torch.allclose(Family("Bernoulli")(loc).log_prob(x), Independent(Bernoulli(logits=loc), 1).log_prob(x))


def test_the_space_of_a_family_is_its_support():
    measures = {kind: Family(kind).measures for kind in (Cauchy, Gamma, Beta, Bernoulli, NegativeBinomial, Poisson)}
    assert list(measures.values()) == [("real",), ("real",), ("unit",), ("binary",), ("count",), ("count",)]
    head = Family("Gumbel", event_dims=2)
    assert describe(part=head)["parts"][0]["arguments"] == {"family": "Gumbel", "event_dims": 2}
    assert repr(build(describe(part=head), KNOWN)["part"]) == repr(head)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("Guassian", "no family 'Guassian'"),
        (Gumbel(0.0, 1.0), "this Gumbel has parameters, .*; give Gumbel itself"),
        (VonMises, "no family 'VonMises'.*a head or a prior of your own"),
        (MultivariateNormal, "MultivariateNormal is no family of single variables with one support; those are .*Laplace"),
        (Uniform, "Uniform is no family of single variables"),
        (Categorical, "Categorical is no family of single variables"),
        (type("Laplace", (Laplace,), {}), "no family 'Laplace'"),
    ],
)
def test_what_is_no_family_is_refused_with_those_that_are(family, said):
    with pytest.raises(SettingError, match=said):
        Family(family)


def composed(prior=None, posterior=None, likelihood=None):
    torch.manual_seed(0)
    return VAE(
        prior or Standard(2),
        Net(Mlp((3,), (8,), (4,)), posterior or Gaussian(2)),
        Net(Mlp((2,), (8,), (3 * (likelihood.count if likelihood else 1),)), likelihood or Isotropic()),
    )


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (lambda: composed(vector(Laplace, [0.0] * 2, [1.0] * 2), Family("Laplace"), Family("StudentT")), "real"),
        (lambda: composed(vector(Normal, [0.0] * 2, [1.0] * 2), Family(Normal), Family(Gamma)), "positive"),
        (lambda: composed(vector(LogNormal, [0.0] * 2, [1.0] * 2), Family(LogNormal), Family("NegativeBinomial")), "count"),
    ],
    ids=["laplace", "normal", "log-normal"],
)
def test_a_model_of_torch_s_distributions_trains_and_is_saved_and_judged(model, x, tmp_path):
    source = torch.Generator().manual_seed(0)
    values = {
        "real": torch.randn(200, 3, generator=source),
        "positive": torch.rand(200, 3, generator=source) + 0.1,
        "count": torch.randint(0, 9, (200, 3), generator=source),
    }[x]
    data = from_arrays(values, name=x, measure="count" if x == "count" else None)
    run = unveil.train(data, model=model(), objective=Distortion() + Rate(), out=tmp_path / "run", **SETTINGS)
    again = unveil.open(tmp_path / "run")
    assert torch.equal(again.sample(4, seed=0), run.sample(4, seed=0))
    assert run.metrics()[-1]["loss"] < run.metrics()[0]["loss"]
    report = again.evaluate(data, samples=20)
    assert report.nll.value <= report.nats.neg_elbo.value + 4 * report.nll.stderr


def test_x_where_a_likelihood_has_no_density_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(SettingError, match="is not finite for the first rows of noise: they lie outside"):
        unveil.train(
            real_data(), model=composed(likelihood=Family(Gamma)), objective=Distortion() + Rate(), out=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
