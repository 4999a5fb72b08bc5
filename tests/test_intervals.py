"""Stated errors cover what they claim to cover, at their rate; and a weighing that was stopped ends as if it had not."""

from math import log

import pytest
import torch
from test_exact import model_of
from torch import nn

from unveil.data import LinearGaussian, Plain, Split
from unveil.evaluation import Figure, evaluate
from unveil.evaluation.likelihood.weigh import curve_points

REPEATS = 200


def wide(latent, size=None):
    truth = LinearGaussian.draw(size or latent + 6, latent)
    model = model_of(truth, 1.2)
    model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    return truth, model


def split_of(x, start=0):
    return Split("test", x, None, torch.arange(start, start + len(x)), Plain())


def covered(values, errors, truth):
    """The share of intervals value +- 1.96 error that hold the truth, less 0.95, in standard errors."""
    inside = ((values - truth).abs() < 1.96 * errors).double()
    return float((inside.mean() - 0.95) / (0.95 * 0.05 / len(inside)) ** 0.5)


@pytest.mark.parametrize(("latent", "samples", "repeats"), [(2, 50, 300), (16, 200, 200), (64, 400, 100)])
def test_the_estimator_s_error_covers_the_expected_estimate_of_these_images(latent, samples, repeats):
    """Of the K-sample estimate, not of -log p(x), from which it is a bias away; |z| < 4 fails once in 16,000 runs."""
    truth, model = wide(latent)
    split = split_of(truth.sample(3))
    found = [evaluate(model, split, samples=samples, seed=seed).curve for seed in range(repeats)]
    for place, k in enumerate(curve_points(samples)):
        values = torch.tensor([curve[place].nll.value for curve in found]).double()
        errors = torch.tensor([curve[place].nll.estimator for curve in found]).double()
        # few groups make a wide-tailed t of the normal: with 2 groups an error says next to nothing
        if samples // k >= 20 or k == samples:
            assert abs(covered(values, errors, values.mean())) < 4, k


def test_the_error_over_images_covers_the_population_s_mean():
    truth, model = wide(2)
    population = truth.sample(40 * REPEATS)
    found = [
        evaluate(model, split_of(population[40 * place : 40 * (place + 1)], 40 * place), samples=20, seed=place).nll
        for place in range(REPEATS)
    ]
    values = torch.tensor([figure.value for figure in found]).double()
    errors = torch.tensor([figure.stderr for figure in found]).double()
    assert abs(covered(values, errors, values.mean())) < 4
    assert all(figure.estimator < figure.stderr for figure in found)


def test_the_curve_falls_towards_the_truth_and_ends_in_the_estimate():
    truth, model = wide(16)
    x = truth.sample(40)
    found = evaluate(model, split_of(x), samples=2_000)
    assert [point.samples for point in found.curve] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000]
    values = [point.nll.value for point in found.curve]
    errors = [point.nll.estimator for point in found.curve]
    assert values[:7] == sorted(values[:7], reverse=True)
    exact = -float(truth.log_likelihood(x).mean())
    assert all(value > exact - 4 * error for value, error in zip(values, errors, strict=True))
    divergence = 16 * (0.5 * (1.44 - 1) - log(1.2))
    assert abs(values[0] - exact - divergence) < 4 * errors[0]
    assert found.nll == found.curve[-1].nll


def test_one_draw_and_one_image_know_no_error():
    truth, model = wide(2)
    found = evaluate(model, split_of(truth.sample(5)), samples=1)
    assert [point.samples for point in found.curve] == [1]
    assert found.ess.value == pytest.approx(1)
    alone = evaluate(model, split_of(truth.sample(1)), samples=10)
    assert "± unknown" in str(alone.nll)
    assert Figure.over(torch.ones(1)).stderr != Figure.over(torch.ones(2)).stderr


class Book:
    """A ledger in memory; it stops whoever writes into it for the `stops`-th time."""

    def __init__(self, stops=None):
        self.pages, self.stops = {}, stops

    def recall(self, key):
        return self.pages.get(key, {})

    def keep(self, key, found):
        self.pages = {key: {name: value.clone() for name, value in found.items()}}
        if self.stops is not None:
            self.stops -= 1
            if not self.stops:
                raise KeyboardInterrupt


@pytest.mark.parametrize("stops", [1, 3])
def test_a_stopped_evaluation_ends_as_if_it_had_not_been_stopped(stops, monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 64)
    truth, model = wide(2)
    split, seen = split_of(truth.sample(23)), []
    whole = evaluate(model, split, samples=30)
    book = Book(stops)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, split, samples=30, ledger=book, identity="a")
    book.stops = None

    class Counting:
        def forecast(self, what, seconds, done):
            assert done > 0

        def done(self, images, total):
            seen.append(images)

    again = evaluate(model, split, samples=30, ledger=book, identity="a", watcher=Counting())
    for name, values in whole.values.items():
        assert torch.equal(again.values[name], values), name
    assert again.curve == whole.curve
    assert len(seen) < 12  # blocks of two: what was put down was not weighed again
    other = evaluate(model, split, samples=30, ledger=Book(), identity="b")
    assert other.curve == whole.curve


def test_what_was_put_down_for_other_weights_or_draws_is_left_alone(monkeypatch):
    monkeypatch.setattr("unveil.evaluation.likelihood.drawing.ROWS", 64)
    truth, model = wide(2)
    split, book = split_of(truth.sample(9)), Book(2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, split, samples=30, ledger=book, identity="a")
    book.stops, kept = None, dict(book.pages)
    other = model_of(truth, 1.5)
    other.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    for looked, settings in ((other, {"identity": "b"}), (model, {"seed": 1}), (model, {"samples": 31})):
        book.pages = dict(kept)
        settings = {"identity": "a", "samples": 30, "seed": 0, **settings}
        plain = {name: value for name, value in settings.items() if name != "identity"}
        assert evaluate(looked, split, ledger=book, **settings).curve == evaluate(looked, split, **plain).curve


def test_the_stated_bias_is_what_is_left_to_the_evidence():
    """The mean over 4,000 images at K = 64, within 4 standard errors and a fifth for what falls faster than 1 / K."""
    truth, model = wide(16)
    x = truth.sample(4_000)
    found = evaluate(model, split_of(x), samples=64)
    left = found.nll.value + float(truth.log_likelihood(x).mean())
    assert found.bias.value > 4 * found.bias.stderr
    assert abs(left - found.bias.value) < 4 * (found.nll.estimator + found.bias.stderr) + 0.2 * found.bias.value
    assert evaluate(model, split_of(x[:5]), samples=1).bias is None
