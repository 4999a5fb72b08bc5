"""The latent space: dimensions that are used and those that are not, and what of the labels can be read off z."""

import json
from dataclasses import replace
from math import log

import pytest
import torch
from cases.basics import named
from cases.discrete import book, chosen
from cases.hierarchies import dense
from helpers.amortised import linear, raw

from unveil.data import Batch, Split
from unveil.data.reading import Plain
from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.evaluation import Figure
from unveil.evaluation.latent.activity import Layer, Means, activity, rates_by_dimension
from unveil.evaluation.latent.probes import probes
from unveil.evaluation.latent.space import latent_space
from unveil.models import VAE
from unveil.parts import Gaussian, Isotropic, MixtureOfGaussians, Net, Standard

SLOPES = torch.tensor([0.0, 1.0, 0.5, 0.005])
SCALES = torch.tensor([1.0, 0.2, 0.7, 0.9])


def encoding(slopes=SLOPES, scales=SCALES):
    """q(z_d|x) = N(slope_d x_d, scale_d^2)."""
    size = len(slopes)
    weight = torch.cat([slopes.diag(), torch.zeros(size, size)])
    network = linear(weight, torch.tensor([0.0] * size + [raw(log(float(scale))) for scale in scales]))
    return VAE(Standard(size), Net(network, Gaussian(size)), Net(linear(torch.eye(size), torch.zeros(size)), Isotropic()))


def examples(n, size=4, seed=0, labels=None, name="test"):
    x = torch.randn(n, size, generator=torch.Generator().manual_seed(seed))
    return Split(name, x, labels, torch.arange(n), Plain())


def labelled(n, seed=0, name="test"):
    """Two classes of which the second dimension knows nearly everything."""
    split = examples(n, seed=seed, name=name)
    return replace(split, labels=(split.values[:, 1] > 0).long())


# Dimensions


def test_each_dimension_has_its_own_rate_and_variance():
    split = examples(500)
    found = latent_space(encoding(), split)
    closed = 0.5 * ((SLOPES * split.values).square() + SCALES**2 - 1) - SCALES.log()
    variances = (SLOPES * split.values).var(0)
    assert [unit.index for unit in found.units] == closed.mean(0).argsort(descending=True).tolist() == [1, 2, 3, 0]
    for unit in found.units:
        assert unit.rate.value == pytest.approx(float(closed[:, unit.index].mean()), abs=1e-5)
        assert unit.rate.stderr == pytest.approx(float(closed[:, unit.index].std() / 500**0.5), abs=1e-5)
        assert unit.variance.value == pytest.approx(float(variances[unit.index]), abs=1e-6)
        assert unit.scale == pytest.approx(float(SCALES[unit.index]), abs=1e-5)
    assert found.layers == (Layer(4, found.layers[0].rate, 2, 0),)
    assert found.collapsed == 1  # of the fourth it is 0.0104 nats
    assert (found.narrowest, found.widest) == pytest.approx((0.2, 1.0), abs=1e-5)
    assert found.units[0].variance.n == 500


def test_the_rates_of_the_dimensions_sum_to_the_rate(tiny):
    torch.manual_seed(0)
    model, _ = named("vae")(tiny)
    found = latent_space(model, tiny.test, seed=3)
    total = sum(unit.rate.value for unit in found.units)
    assert total == pytest.approx(found.layers[0].rate.value, rel=1e-6)
    batch = next(tiny.test.batches(len(tiny.test), 3))
    with torch.no_grad():
        assert total == pytest.approx(float(model.draw(batch).rate.double().mean()), rel=1e-6)


@pytest.mark.parametrize("event", [(3,), (2, 1, 2)])
def test_rates_by_dimension_are_the_divergence_of_each(event):
    torch.manual_seed(0)
    q = DiagonalGaussian(torch.randn(5, *event), torch.randn(5, *event), len(event))
    p = DiagonalGaussian(torch.randn(event), torch.randn(()), len(event))
    rates = rates_by_dimension(q, p)
    assert rates.shape == (5, q.event_shape.numel())
    assert torch.allclose(rates.sum(1), torch.distributions.kl_divergence(q, p), rtol=1e-5)
    ratio, gap = q.log_scale - p.log_scale, (q.loc - p.loc) / p.scale
    assert torch.allclose(rates, (0.5 * (gap.square() + (2 * ratio).exp() - 1) - ratio).flatten(1), atol=1e-5)
    assert rates_by_dimension(q, MixtureOfGaussians(event, 2)()) is None


def test_the_threshold_has_a_neighbourhood():
    def figure(value, stderr=0.0):
        return Figure(value, stderr, 100)

    assert activity([figure(0.5), figure(0.015), figure(0.009), figure(0.0), figure(0.03, 0.011)]) == (3, 3)


def test_variances_of_means_are_unbiased_from_draws():
    """4,000 examples of known means, each with 5 draws: the spread within examples adds nothing."""
    source = torch.Generator().manual_seed(0)
    means = torch.tensor([0.0, 0.1, 2.0]) * torch.randn(4_000, 3, generator=source)
    z = means + torch.tensor([1.0, 0.7, 0.1]) * torch.randn(5, 4_000, 3, generator=source)
    found = Means.joined([Means.of_draws(z[:, :1_500]), Means.of_draws(z[:, 1_500:])]).variances()
    for figure, exact, noise in zip(found, [0.0, 0.01, 4.0], [1.0, 0.49, 0.01], strict=True):
        assert abs(figure.value - exact) < 4 * figure.stderr
        total = exact + noise / 5
        expected = ((2 * total**2 + 2 * (noise / 5) ** 2 / 4) / 4_000) ** 0.5
        assert figure.stderr == pytest.approx(expected, rel=0.1)
    known = Means(means.double()).variances()
    assert [figure.value for figure in known] == pytest.approx(means.double().var(0).tolist())


def test_each_layer_is_looked_at():
    torch.manual_seed(0)
    model = dense(event=(4,), head=Isotropic())
    split = examples(40)
    found = latent_space(model, split, draws=6)
    assert [layer.dimensions for layer in found.layers] == [3, 2, 2]
    assert all(layer.active is not None and layer.rate.n == 40 for layer in found.layers)
    assert found.collapsed is None
    assert all(unit.rate is None for unit in found.units)
    assert found.units[0].variance.value >= found.units[-1].variance.value
    assert "both diagonal Gaussians of one layer" in found.missing[0]
    assert [name for name, _ in found.table()][:2] == ["rate, layer 1", "active units, layer 1"]
    batch = Batch(split.values, torch.arange(40), 40)
    torch.manual_seed(1)
    with torch.no_grad():
        draw = model.draw(batch, 400)
    for place, layer in enumerate(found.layers):
        values = draw.kl[place].mean(0).double()
        # the layers below the first are estimated, by 6 draws here and by 400 there
        assert abs(layer.rate.value - values.mean()) < 4 * float(draw.kl[place].std() / (6 * 40) ** 0.5) + 1e-5


@pytest.mark.parametrize("name", ["vamp", "wae-mmd", "hvae", "svae", "gumbel-vae", "m2", "nvae-small", "vae-linear-flow"])
def test_the_family_can_be_looked_at(name, tiny):
    torch.manual_seed(0)
    data = tiny.given_labels(known=50) if name == "m2" else tiny
    found = latent_space(named(name)(data)[0], data.test, data.train, draws=3)
    assert (found.layers[0].rate is None) == (name == "wae-mmd")
    assert found.layers[0].active is not None
    assert found.probes.linear.n == len(tiny.test)
    assert found.informed == (name == "m2")
    if name == "m2":
        assert found.layers[1] == Layer(2, found.layers[1].rate, None, None)
    json.dumps(found.as_dict())


def test_codes_have_units_too(tiny):
    torch.manual_seed(0)
    found = latent_space(chosen(book()), tiny.test, draws=2)
    assert found.layers[0].rate.value > 0
    assert len(found.units) == found.layers[0].dimensions == 6


# Labels


def test_probes_read_what_is_there_and_no_more():
    test, train = labelled(400), labelled(1_000, 1, "train")
    found = latent_space(encoding(), test, train)
    told = found.probes
    assert told.linear.value > 99
    assert told.nearest.value > 90
    assert 40 < told.majority.value < 60
    assert (told.fitted, told.classes, told.neighbours, told.linear.n) == (1_000, 2, 10, 400)
    blind = latent_space(encoding(torch.zeros(4)), test, train).probes
    assert blind.linear.value == blind.majority.value
    share = told.majority.value / 100
    assert told.majority.stderr == pytest.approx(100 * (share * (1 - share) / 400) ** 0.5, rel=0.01)


def test_random_labels_cannot_be_read():
    source = torch.Generator().manual_seed(2)
    labels = [torch.randint(0, 2, (n,), generator=source) for n in (2_000, 1_000)]
    told = probes(torch.randn(2_000, 3, generator=source), labels[0], torch.randn(1_000, 3, generator=source), labels[1])
    for figure in (told.linear, told.nearest):
        assert abs(figure.value - 50) < 4 * figure.stderr


def test_the_linear_probe_knows_no_units_and_neighbours_do():
    train, test = labelled(600, 1), labelled(300)
    units = torch.tensor([1.0, 1e-6, 1.0, 1.0])
    plain = probes(train.values, train.labels, test.values, test.labels)
    scaled = probes(train.values * units, train.labels, test.values * units, test.labels)
    assert scaled.linear == plain.linear
    assert scaled.nearest.value < plain.nearest.value - 20


def test_classes_may_lie_apart_and_not_linearly():
    x, y = (examples(n, 2, seed).values for n, seed in ((1_500, 1), (500, 2)))
    told = probes(x, (x.prod(1) > 0).long(), y, (y.prod(1) > 0).long())
    assert told.nearest.value > 90
    assert told.linear.value < 65
    found = replace(latent_space(encoding(), examples(20)), probes=told)
    assert any("not linearly" in line for line in found.advice())


def test_a_label_that_was_never_seen_is_an_error():
    told = probes(torch.randn(20, 2), torch.arange(20) % 2, torch.randn(10, 2), torch.full((10,), 7), neighbours=50)
    assert told.linear.value == told.nearest.value == told.majority.value == 0
    assert told.neighbours == 20


def test_where_there_are_no_classes_it_is_said_why():
    with pytest.raises(SettingError, match="1 label cannot be told apart as classes"):
        probes(torch.randn(9, 2), torch.zeros(9).long(), torch.randn(9, 2), torch.zeros(9).long())
    with pytest.raises(SettingError, match="no vote"):
        probes(torch.randn(9, 2), torch.arange(9), torch.randn(9, 2), torch.arange(9), neighbours=0)
    one = replace(labelled(50), labels=torch.zeros(50).long())
    assert "1 label cannot be told apart as classes" in latent_space(encoding(), one, one).missing[0]
    assert latent_space(encoding(), examples(50), labelled(50)).probes is None
    assert latent_space(encoding(), labelled(50)).probes is None
    with pytest.raises(SettingError, match="at least 2 of each"):
        latent_space(encoding(), examples(5), draws=1)


def test_a_seed_says_everything_and_which_training_examples_are_seen():
    test, train = labelled(60), labelled(300, 1, "train")
    settings = {"images": 50, "fitted": 100}
    first = latent_space(encoding(), test, train, **settings)
    torch.rand(3)
    assert latent_space(encoding(), test, train, **settings) == first
    other = latent_space(encoding(), test, train, **settings, seed=1)
    assert (other.examples, other.probes.fitted) == (50, 100)
    assert other.fingerprint != first.fingerprint


def test_the_encoder_is_given_the_label_only_where_it_must_be(tiny):
    torch.manual_seed(0)
    data = tiny.given_labels()
    model, _ = named("cvae")(data)
    found = latent_space(model, data.test, data.train, draws=2)
    assert found.informed
    assert any("given the label" in line for line in found.advice())
    assert "given the label" in dict(found.table())["labels by a linear probe"]
    # a semi-supervised model finds the class itself, whatever the split says
    half = tiny.given_labels(known=50)
    model, _ = named("m2")(half)
    wrong = replace(half.test, context=half.test.context.flip(1))
    right, other = (latent_space(model, split, half.train, draws=2) for split in (half.test, wrong))
    assert right.units == other.units
    assert right.probes == other.probes


# Advice


def test_advice_is_about_what_was_found():
    collapsed = latent_space(encoding(torch.zeros(4), torch.ones(4)), examples(50))
    assert "every dimension has collapsed" in collapsed.advice()[0]
    some = latent_space(encoding(), examples(50))
    assert some.advice()[0].startswith(f"{some.collapsed} of 4 dimensions carry nothing")
    healthy = latent_space(encoding(torch.ones(4), 0.3 * torch.ones(4)), examples(50))
    assert healthy.advice() == []
    narrow = latent_space(encoding(torch.ones(4), torch.tensor([0.5, 0.5, 0.5, 0.00251])), examples(50))
    assert "reach the bounds" in narrow.advice()[0]
    near = latent_space(encoding(torch.full((4,), 0.1), 0.5 * torch.ones(4)), examples(200))
    assert any("near the threshold" in line for line in near.advice())
    layers = (healthy.layers[0], Layer(3, Figure(0.0, 0.0, 50), 0, 0))
    assert "layers 2 of 2 carry nothing" in replace(healthy, layers=layers).advice()[0]
    blind = latent_space(encoding(torch.zeros(4)), labelled(100), labelled(200, 1))
    assert any("cannot be told from the most frequent label" in line for line in blind.advice())


def test_many_dimensions_of_little_are_not_nothing():
    """256 dimensions of 0.0098 nats each are 2.5 nats, and as many of none are nothing."""
    split = examples(200, 256)
    thin = latent_space(encoding(torch.full((256,), 0.14), torch.full((256,), 0.9903)), split)
    exact = sum(unit.rate.value for unit in thin.units if unit.rate.value < 0.01)
    assert thin.collapsed > 128
    assert thin.collapsed_rate.value == pytest.approx(exact)
    assert exact > 1
    assert "spread thin" in thin.advice()[0]
    assert not any("nothing" in line for line in thin.advice())
    assert "together" in dict(thin.table())["collapsed dimensions"]
    none = latent_space(encoding(torch.zeros(256), torch.full((256,), 0.9999)), split)
    assert none.collapsed_rate.value < 1e-4
    assert "every dimension has collapsed" in none.advice()[0]


def test_a_probe_is_held_against_the_most_frequent_label_on_the_same_examples():
    found = latent_space(encoding(), labelled(300), labelled(600, 1)).probes
    assert found.gain.value == pytest.approx(found.linear.value - found.majority.value)
    assert found.gain.stderr > 0.9 * found.majority.stderr > 3 * found.linear.stderr  # the majority has an error of its own
    apart = torch.tensor([[-5.0], [5.0]])
    x, labels = apart.repeat(50, 1), torch.arange(2).repeat(50)
    sure = probes(x, labels, x, labels)
    assert (sure.linear.value, sure.nearest.value) == (100, 100)
    assert 0.5 < sure.linear.stderr < 1.5  # of a hundred that were all right, one in a hundred may be wrong
    same = probes(torch.zeros(100, 1), torch.cat([torch.zeros(90), torch.ones(10)]).long(), x, torch.zeros(100).long())
    assert (same.gain.value, same.gain.stderr) == (0, 0)
