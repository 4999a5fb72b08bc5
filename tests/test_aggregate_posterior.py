"""The rate taken apart over a whole split, where every part has a closed form, and by brute force where N is small."""

import json
from dataclasses import replace
from math import log

import pytest
import torch
from cases.basics import named, small
from cases.discrete import book, chosen
from cases.hierarchies import dense
from cases.priors import second
from helpers.amortised import linear, raw

from unveil.data import Split
from unveil.data.reading import Plain
from unveil.errors import SettingError
from unveil.evaluation import Figure
from unveil.evaluation.latent.aggregate import aggregate
from unveil.evaluation.latent.mixture import Interval, diagonals
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Mmd
from unveil.parts import Bernoulli, Conditioned, Full, Gaussian, Isotropic, Net, Standard, TwoStage


def encoding(covariance, slope, scale, full=False):
    """x ~ N(0, covariance) and q(z|x) = N(slope x, scale^2)."""
    size = len(covariance)
    rest = torch.cat([torch.full((size,), raw(log(scale))), torch.zeros(size * (size - 1) // 2 if full else 0)])
    network = linear(
        torch.cat([slope * torch.eye(size), torch.zeros(len(rest), size)]), torch.cat([torch.zeros(size), rest])
    )
    head = Full(size) if full else Gaussian(size)
    return VAE(Standard(size), Net(network, head), Net(linear(torch.eye(size), torch.zeros(size)), Isotropic()))


def examples(covariance, n, seed=0):
    root = torch.linalg.cholesky(covariance)
    x = torch.randn(n, len(covariance), generator=torch.Generator().manual_seed(seed)) @ root.T
    return Split("test", x, None, torch.arange(n), Plain())


def exact(covariance, slope, scale):
    """Every part, of the population: q(z) is a Gaussian."""
    q = slope**2 * covariance.double() + scale**2 * torch.eye(len(covariance)).double()
    half, each, size = 0.5 * torch.logdet(q), 0.5 * q.diagonal().log(), len(q)
    return {
        "information": half - size * log(scale),
        "divergence": 0.5 * (q.diagonal().sum() - size) - half,
        "correlation": each.sum() - half,
        "marginals": (0.5 * (q.diagonal() - 1) - each).sum(),
    }


def pair(rho):
    return torch.tensor([[1.0, rho], [rho, 1.0]])


LOW, MIDDLE = (pair(0.7), 0.4, 1.1), (pair(0.8), 0.95, 0.3)
HIGH = (torch.eye(8), 1.0, 0.05)


@pytest.mark.parametrize(("setting", "n"), [(LOW, 1_000), (MIDDLE, 2_000), (HIGH, 300)])
def test_every_part_lies_in_its_interval(setting, n):
    found = aggregate(encoding(*setting), examples(setting[0], n), images=None)
    for name, value in exact(*setting).items():
        interval = getattr(found, name)
        assert interval.lower.value - 4 * interval.lower.stderr < value, name
        assert value < interval.upper.value + 4 * interval.upper.stderr, name
        assert interval.lower.value < interval.upper.value
        assert interval.lower.n == n


def test_the_interval_closes_where_there_are_examples_enough():
    low = aggregate(encoding(*LOW), examples(LOW[0], 1_000), images=None)
    for name, value in exact(*LOW).items():
        interval = getattr(low, name)
        assert interval.upper.value - interval.lower.value < 0.02, name
        assert interval.told
        assert abs(interval.upper.value - value) < 4 * interval.upper.stderr + 0.02, name
    few, many = (aggregate(encoding(*MIDDLE), examples(MIDDLE[0], n), images=None).information for n in (100, 1_600))
    assert many.upper.value - many.lower.value < 0.25 * (few.upper.value - few.lower.value)


def test_information_beyond_log_n_cannot_be_told():
    found = aggregate(encoding(*HIGH), examples(HIGH[0], 300), images=None)
    assert exact(*HIGH)["information"] > 20
    assert log(300) - 0.01 < found.information.lower.value <= log(300) + 1e-9
    assert found.information.upper.value > 20
    assert not found.information.told
    assert "300 examples cannot tell" in dict(found.table())["I(x; z)"]
    assert any("cannot tell" in line for line in found.advice())


@pytest.mark.parametrize("setting", [LOW, MIDDLE, HIGH])
def test_the_parts_add_up_on_either_side(setting):
    found = aggregate(encoding(*setting), examples(setting[0], 150), images=None)
    information, divergence = found.information, found.divergence
    correlation, marginals = found.correlation, found.marginals
    assert information.lower.value + divergence.upper.value == pytest.approx(found.rate.value, abs=1e-6)
    assert information.upper.value + divergence.lower.value == pytest.approx(found.rate.value, abs=1e-6)
    assert correlation.lower.value + marginals.upper.value == pytest.approx(divergence.lower.value, abs=1e-6)
    assert correlation.upper.value + marginals.lower.value == pytest.approx(divergence.upper.value, abs=1e-6)
    for side in ("lower", "upper"):
        each = sum(getattr(interval, side).value for interval in found.dimensions)
        assert each == pytest.approx(getattr(marginals, side).value, abs=1e-6)


def test_the_rate_is_that_of_the_closed_form():
    x = examples(MIDDLE[0], 400).values
    found = aggregate(encoding(*MIDDLE), examples(MIDDLE[0], 400), images=None)
    closed = 0.5 * ((MIDDLE[1] * x).square() + MIDDLE[2] ** 2 - 1).sum(1).mean() - 2 * log(MIDDLE[2])
    assert abs(found.rate.value - closed) < 4 * found.rate.stderr


def test_other_posteriors_take_the_long_way_to_the_same_place(monkeypatch):
    short = aggregate(encoding(*MIDDLE), examples(MIDDLE[0], 120), images=None)
    full = aggregate(encoding(*MIDDLE, full=True), examples(MIDDLE[0], 120), images=None)
    for name in ("information", "divergence"):
        for side in ("lower", "upper"):
            one, other = (getattr(getattr(found, name), side) for found in (short, full))
            assert one.value == pytest.approx(other.value, abs=1e-4)
            assert one.stderr == pytest.approx(other.stderr, abs=1e-4)
    assert full.correlation is None
    assert full.dimensions == ()
    assert any("marginals" in why for why in full.missing)
    monkeypatch.setattr("unveil.evaluation.latent.aggregate.OTHERS", 50)
    assert aggregate(encoding(*MIDDLE, full=True), examples(MIDDLE[0], 120), images=None).examples == 50
    assert aggregate(encoding(*MIDDLE), examples(MIDDLE[0], 120), images=None).examples == 120
    monkeypatch.setattr("unveil.evaluation.latent.aggregate.STORED", 2 * 30)
    assert aggregate(encoding(*MIDDLE), examples(MIDDLE[0], 120), images=None).examples == 30


# The discrepancy


def shifted(mean):
    """q(z|x) = N(mean + 0.6 x, 0.8^2): the prior itself where the mean is zero."""
    model = encoding(torch.eye(2), 0.6, 0.8)
    with torch.no_grad():
        model.posterior.network.last.bias[:2] = mean
    return model


def test_the_discrepancy_is_nothing_at_the_prior_and_is_that_of_all_pairs_elsewhere():
    split = examples(torch.eye(2), 4_000)
    same, apart = (aggregate(shifted(mean), split, images=4_000) for mean in (0.0, 0.8))
    assert abs(same.mmd.value) < 4 * same.mmd.stderr
    assert abs(same.floor.value) < 4 * same.floor.stderr
    assert same.advice() == []
    assert apart.mmd.value > 10 * apart.floor.stderr
    source = torch.Generator().manual_seed(1)
    z = torch.randn(1, 4_000, 2, generator=source)
    kernel = lambda a, b: Mmd().kernel((a - b).square().mean(-1) / 2)  # noqa: E731
    u, v, w, y = z[0].split(1_000)
    pairs = kernel(u + 0.8, v + 0.8) + kernel(w, y) - kernel(u + 0.8, w) - kernel(v + 0.8, y)
    error = (apart.mmd.stderr**2 + float(pairs.std() / 1_000**0.5) ** 2) ** 0.5
    assert abs(apart.mmd.value - float(pairs.mean())) < 4 * error
    assert apart.mmd.n == apart.floor.n == 4_000


def test_the_order_of_a_split_means_nothing():
    split = examples(pair(0.5), 2_000)
    order = split.values[:, 0].argsort()
    sorted_split = replace(split, values=split.values[order])
    one, other = (aggregate(encoding(pair(0.5), 0.9, 0.3), part, images=None).mmd for part in (split, sorted_split))
    assert abs(one.value - other.value) < 4 * (one.stderr**2 + other.stderr**2) ** 0.5


# What there is none of, and what cannot be


def test_without_a_density_there_is_the_discrepancy_alone(tiny):
    torch.manual_seed(0)
    for name, why in (("wae-mmd", "Delta"), ("vae-linear-flow", "flow"), ("hvae", "Hamiltonian")):
        found = aggregate(named(name)(tiny)[0], tiny.train, images=60)
        assert found.information is found.divergence is found.rate is None
        assert found.mmd.n == found.examples == 60
        assert why in found.missing[0]
        json.dumps(found.as_dict())


@pytest.mark.parametrize("name", ["vamp", "exemplar", "flow-prior", "svae", "poincare-vae", "cvae"])
def test_the_family_can_be_taken_apart(name, tiny):
    torch.manual_seed(0)
    data = tiny.given_labels() if name == "cvae" else tiny
    found = aggregate(named(name)(data)[0], data.train, images=60)
    assert found.information.lower.value < log(60)
    assert found.divergence is not None
    assert found.information.lower.value + found.divergence.upper.value == pytest.approx(found.rate.value, abs=1e-4)
    assert found.mmd is not None
    assert (found.marginals is None) == (name != "cvae")


def test_a_prior_without_a_density_of_its_own_has_no_divergence(tiny):
    torch.manual_seed(0)
    found = aggregate(small(prior=TwoStage(second(3))), tiny.train, images=40)
    assert found.information is not None
    assert found.mmd is not None
    assert found.divergence is found.rate is found.marginals is None
    assert "second stage" in found.missing[0]
    model = small(prior=Conditioned(Mlp((2,), (4,), (6,)), Gaussian(3)))
    given = tiny.given_labels().train
    model.posterior = Net(Mlp((1, 6, 5), (8,), (6,), context=2), Gaussian(3))
    model.likelihood = Net(Mlp((3,), (8,), (1, 6, 5), context=2), Bernoulli(3))
    found = aggregate(model, given, images=40)
    assert found.information is not None
    assert found.divergence is found.mmd is None
    assert "conditioned on" in found.missing[0]


def test_what_cannot_be_is_refused(tiny):
    torch.manual_seed(0)
    with pytest.raises(SettingError, match="needs one layer of z, and this model has 3"):
        aggregate(dense(), tiny.train, images=10)
    with pytest.raises(SettingError, match="codes or classes"):
        aggregate(chosen(book()), tiny.train, images=10)
    with pytest.raises(SettingError, match="at least 2"):
        aggregate(small(), tiny.train, images=1)


def test_a_seed_says_everything(tiny):
    torch.manual_seed(0)
    model = small()
    assert diagonals([model.encode(tiny.train.reading.mean(tiny.train.values[:2]))], torch.zeros(2, 3)) is not None
    first = aggregate(model, tiny.train, images=50)
    torch.rand(3)
    assert aggregate(model, tiny.train, images=50) == first
    assert aggregate(model, tiny.train, images=50, seed=1) != first


def test_advice_asks_for_a_prior_where_one_would_help():
    far = aggregate(encoding(torch.eye(2), 4.0, 1.0), examples(torch.eye(2), 1_000), images=None)
    assert any("would save at least" in line and "refit-prior" in line for line in far.advice())
    empty = aggregate(encoding(torch.eye(2), 0.01, 1.0), examples(torch.eye(2), 1_000), images=None)
    assert any("collapsed" in line for line in empty.advice())
    by_samples = replace(far, information=None, divergence=None)
    assert any("can be told from samples of the prior" in line for line in by_samples.advice())
    near = replace(by_samples, mmd=Figure(0.001, 0.001, 100, "MMD²"))
    assert near.advice() == []


def test_an_interval_is_told_by_its_width():
    def between(low, high):
        return Interval.between(*(torch.full((2,), value) for value in (low, high)))

    assert between(1.0, 1.4).told
    assert between(8.5, 9.4).told
    assert not between(0.0, 0.6).told
    assert str(between(1.0, 1.4)) == "1.00 ± 0.00 to 1.40 ± 0.00 nats (n = 2)"
