"""Samples held against data: what is drawn and read, what stands beside it, and what is said of it."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from unveil.data import from_arrays
from unveil.errors import SettingError
from unveil.evaluation.figure import Figure
from unveil.evaluation.samples.classifier import facts
from unveil.evaluation.samples.quality import TITLES, falls_short, quality, text
from unveil.randomness import generator
from unveil.recipes import recipe


def figures_of(n, seed, labels=None):
    """Gray 28x28 images of bars whose row is their class and whose length, place and brightness vary."""
    source = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 10, (n,), generator=source) if labels is None else labels
    start, length, light = (torch.randint(low, high, (n,), generator=source) for low, high in ((0, 9), (5, 18), (150, 256)))
    rows, columns = torch.arange(28).view(1, 28, 1), torch.arange(28).view(1, 1, 28)
    bar = (rows - 2 * kinds.view(-1, 1, 1) - 4).abs() < 2
    inside = (columns >= start.view(-1, 1, 1)) & (columns < (start + length).view(-1, 1, 1))
    return ((bar & inside) * light.view(-1, 1, 1)).to(torch.uint8).unsqueeze(1), kinds


class Bars(nn.Module):
    """A classifier that knows these bars: features are sums over rows and columns, the class is the brightest row."""

    def features(self, x):
        return torch.cat([x.mean(3).flatten(1), x.mean(2).flatten(1)], 1) * 4

    def last(self, features):
        return features[:, 4:24].unflatten(1, (10, 2)).sum(2)


class Sampler:
    """A model that makes what it is told to make: `make(n, seed, labels)` gives x."""

    def __init__(self, make):
        self.make, self.asked = make, []

    def sample(self, n, context=None, seed=None, mean=False):
        self.asked.append(context)
        return self.make(n, seed, None if context is None else context.argmax(1))


def gray(n, seed, labels=None):
    return figures_of(n, 1_000 + seed, labels)[0] / 255


def binary(n, seed, labels=None):
    return (torch.rand(n, 1, 28, 28, generator=generator(seed, "noise")) < gray(n, seed, labels)).float()


@pytest.fixture(scope="module")
def bars():
    return from_arrays(*figures_of(6_000, 0), name="bars", measure="unit")


def judged(make, data, **given):
    return quality(Sampler(make), data, n=400, classifier=Bars(), **given)


def test_new_data_as_samples_are_as_good_as_training_images(bars):
    found = judged(gray, bars)
    for name in TITLES:
        one, floor = getattr(found.samples, name), getattr(found.floor, name)
        # seven figures of two pairs of sets with one in common: 4.5 errors are a false alarm in ten thousand runs
        assert abs(one.value - floor.value) < 4.5 * (one.stderr**2 + floor.stderr**2) ** 0.5, name
    assert found.known.value > 0.99
    assert (found.n, found.measure, found.split, found.data) == (400, "unit", "test", "bars")
    assert [line for line in found.advice() if "biased upwards" not in line] == []


def test_noise_is_far_from_the_data_on_every_count(bars):
    found = judged(lambda n, seed, labels: torch.rand(n, 1, 28, 28, generator=generator(seed)), bars)
    assert found.samples.frechet.value > found.floor.frechet.value + 10 * found.samples.frechet.stderr
    assert found.samples.kernel.value > found.floor.kernel.value + 10 * found.samples.kernel.stderr
    assert found.samples.precision.value < 0.05
    assert found.samples.coverage.value < 0.05
    assert any("lie where no data are" in line for line in found.advice())


def test_a_sampler_that_leaves_out_half_the_classes_is_precise_and_covers_half(bars):
    found = judged(lambda n, seed, labels: gray(n, seed, torch.arange(n) % 5), bars)
    assert found.samples.precision.value > found.floor.precision.value - 0.1
    assert found.samples.coverage.value < 0.7
    assert any("have no sample nearby" in line for line in found.advice())
    assert not any("lie where no data are" in line for line in found.advice())


def test_samples_at_the_mode_are_denser_than_data_which_is_no_praise(bars):
    def usual(n, seed, labels):
        pool = figures_of(3_000, 5)[0] / 255
        seen = Bars().features(pool)
        return pool[torch.cdist(seen, seen).kthvalue(40).values.argsort()[:n]]

    found = judged(usual, bars)
    assert found.samples.density.value > found.floor.density.value + 0.3
    assert found.samples.precision.value >= found.floor.precision.value
    assert any("crowd where the data are densest" in line for line in found.advice())
    assert not any("lie where no data are" in line for line in found.advice())


def test_what_is_said_of_a_figure_beyond_its_floor_is_seldom_chance(bars):
    # five tests of each, one in ten thousand of them false by design
    said = [judged(gray, bars, seed=seed).advice() for seed in range(1, 8)]
    assert not [line for lines in said for line in lines if "biased upwards" not in line]
    exact = Figure(0.9, 0.0, 100, "share")
    assert falls_short(Figure(0.5, 0.05, 100, "share"), exact)
    assert not falls_short(Figure(0.5, float("nan"), 100, "share"), exact)
    assert not falls_short(Figure(0.86, 0.001, 100, "share"), exact)


@pytest.mark.parametrize(("measure", "make", "expected"), [("binary", binary, "binary"), ("unit", binary, "binary")])
def test_samples_of_black_and_white_are_held_against_binarised_images(measure, make, expected):
    data = from_arrays(*figures_of(6_000, 0), name="bars", measure=measure)
    found = judged(make, data)
    assert found.measure == expected
    assert abs(found.samples.kernel.value - found.floor.kernel.value) < 4 * found.samples.kernel.stderr
    assert found.samples.precision.value > found.floor.precision.value - 0.1


def test_levels_are_seen_as_gray(bars):
    levels = from_arrays(*figures_of(6_000, 0), name="bars", measure="levels")
    found = judged(lambda n, seed, labels: 255 * gray(n, seed, labels), levels)
    assert found.samples == judged(gray, bars).samples


def test_a_conditional_model_is_asked_for_the_labels_of_training_images_and_judged_by_them(bars):
    given = bars.given_labels()
    obedient = Sampler(gray)
    found = quality(obedient, given, n=400, classifier=Bars())
    labels = given.train.sample(400, 0).labels
    assert torch.equal(obedient.asked[0].argmax(1), labels)
    assert found.obeyed.value > 0.99
    deaf = judged(lambda n, seed, labels: gray(n, seed), given)
    assert abs(deaf.obeyed.value - 0.1) < 4 * deaf.obeyed.stderr + 0.02  # the classes are not quite as many each
    assert any("another class than was asked for" in line for line in deaf.advice())
    assert judged(gray, bars).obeyed is None


def test_contexts_that_are_no_labels_are_passed_on_and_not_judged(bars):
    given = bars.given_labels()
    other = replace(given, train=replace(given.train, context=given.train.context.roll(1, 1)))
    assert judged(gray, other).obeyed is None


def test_it_is_a_function_of_the_seed_and_plain_data(bars):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = judged(gray, bars)
    assert torch.equal(torch.get_rng_state(), state)
    assert judged(gray, bars) == found
    assert judged(gray, bars, seed=1).samples.frechet.value != found.samples.frechet.value
    assert json.loads(json.dumps(found.as_dict()))["samples"]["kernel"]["n"] == 400


def test_the_table_shows_every_figure_beside_its_floor(bars):
    table = dict(judged(gray, bars).table())
    assert set(TITLES.values()) < set(table)
    assert all("training images" in table[title] for title in TITLES.values())
    assert "400 samples against 400 of bars test, unit" in table["images"]
    assert text(Figure(0.01234, 0.00056, 9, "share")) == "0.01234 ± 0.00056"
    assert text(Figure(12.345, 1.2, 9, "feature variances")) == "12.35 ± 1.20 feature variances"
    assert text(Figure(0.5, float("nan"), 9)) == "0.5000 ± unknown nats"


def test_images_that_the_classifier_does_not_know_are_said_to_be_such(bars):
    strange = from_arrays(bars.train.values, (bars.train.labels + 3) % 10, name="strange", measure="unit")
    found = judged(gray, strange)
    assert any("it was made for MNIST's digits" in line for line in found.advice())
    unlabelled = from_arrays(bars.train.values, name="bare", measure="unit")
    found = judged(gray, unlabelled)
    assert found.known is None
    assert any("no labels" in line for line in found.advice())


def test_other_images_are_refused(digits, tiny):
    for data in (digits, tiny, from_arrays(torch.randn(300, 1, 28, 28), name="real")):
        with pytest.raises(SettingError, match="for MNIST-like images only"):
            quality(Sampler(gray), data)


def test_what_cannot_be_judged_is_named(bars):
    with pytest.raises(SettingError, match="cannot judge samples"):
        quality(Sampler(gray), bars, n=99)
    with pytest.raises(SettingError, match="take 'validation' or 'test'"):  # they would be a perfect floor for themselves
        judged(gray, bars, split="train")
    with pytest.raises(SettingError, match="not finite"):
        judged(lambda n, seed, labels: gray(n, seed) / 0, bars)
    with pytest.raises(SettingError, match="makes x of shape"):
        judged(lambda n, seed, labels: gray(n, seed)[:, :, 1:], bars)


def test_a_real_model_is_judged_by_the_shipped_classifier(bars):
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2, hidden=(16,)).compose(from_arrays(*figures_of(2_000, 0), name="bars"))
    data = from_arrays(*figures_of(2_000, 0), name="bars")
    found = quality(model, data, n=200)
    assert found.classifier == facts()["sha256"]
    assert found.samples.frechet.value > 10 * found.floor.frechet.value  # it has learnt nothing
    assert model.training
