"""Draws of the prior among those of the encoder: estimates of what an encoder misses, that stay unbiased."""

import pytest
import torch
from helpers.annealed import off_model, split_of
from helpers.two_sided import exact, ones, two_sided
from test_exact import model_of
from test_report import data_of, model_with_weights

from unveil.data import Dataset, LinearGaussian, Space
from unveil.errors import SettingError
from unveil.evaluation import evaluate, report
from unveil.recipes import recipe


def linear(model):
    model.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    return model


def test_a_peak_that_the_encoder_misses_is_found():
    model, split = two_sided(), ones(100)
    blind = evaluate(model, split, samples=2_000)
    assert blind.nll.value > -exact() + 10  # 12.5 nats too high
    assert blind.ess.value > 30  # which looks healthy
    seen = evaluate(model, split, samples=2_000, defensive=0.5)
    assert abs(seen.nll.value + exact()) < 4 * seen.nll.estimator + 0.01
    assert seen.defensive == 0.5


def test_the_report_says_for_how_many_images_the_encoder_misses_a_peak_and_what_to_do():
    part = ones(30)
    data = Dataset("ones", Space((1,), "real"), part, part, part)
    found = report(two_sided(), data, "test", ["quadrature"], samples=2_000)
    assert found.sections["quadrature"].nll.value == pytest.approx(-exact(), abs=0.02)
    missed = int((found.nats.values["ess"] >= 10).sum())
    assert missed > 15
    assert f"{missed} of 30 examples the encoder misses" in found.advice()[0]
    assert "defensive" in found.advice()[0]
    assert torch.equal(found.values["quadrature"], found.sections["quadrature"].values)
    assert report(two_sided(), data, "test", ["quadrature"], samples=2_000, defensive=0.5).advice() == []


@pytest.mark.parametrize("defensive", [0.1, 0.5, 0.9])
def test_every_group_of_draws_is_unbiased_for_the_evidence(defensive):
    """exp of each estimate of the curve against p(x), over 400 images: |z| < 4.5, a false alarm in 20,000 runs of nine."""
    truth = LinearGaussian.draw(8, 2)
    x = truth.sample(1).expand(400, -1)
    found = evaluate(linear(off_model(truth, shift=1.0, width=0.8)), split_of(x), samples=40, defensive=defensive)
    ratio = (-found.values["nll"] - truth.log_likelihood(x[:1])).exp()
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / len(ratio) ** 0.5
    means = [point.nll.value for point in found.curve]
    assert means == sorted(means, reverse=True)


def test_distortion_and_rate_are_those_of_the_encoder():
    truth = LinearGaussian.draw(5, 2)
    model, split = linear(model_of(truth)), split_of(truth.sample(200))
    plain, defended = (evaluate(model, split, samples=200, defensive=share) for share in (0.0, 0.25))
    for one in ("distortion", "rate"):
        gap = getattr(plain, one).value - getattr(defended, one).value
        assert abs(gap) < 0.05  # the same mean over 150 draws of each of 200 images instead of 200
    assert abs(plain.nll.value - defended.nll.value) < 0.05


def test_what_has_no_such_mixture_is_refused(digits):
    truth = LinearGaussian.draw(5, 2)
    model, split = model_with_weights(truth), data_of(truth).test
    for share in (-0.1, 1.0, 0.99):
        with pytest.raises(SettingError, match="leaves q\\(z\\|x\\) none"):
            evaluate(model, split, samples=10, defensive=share)
    for name, why in (
        ("ladder", "defensive"),
        ("vq-vae", "defensive"),
        ("svae", "defensive"),
        ("vae-linear-flow", "known at"),
    ):
        other, _ = recipe(name).given(latent=2, hidden=(8,)).compose(digits)
        with pytest.raises(SettingError, match=why):
            evaluate(other, digits.test.subset(torch.arange(2)), samples=4, defensive=0.5)
