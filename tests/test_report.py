"""The report card: what it holds, what it refuses, and what its figures say beside each other."""

import json
from functools import partial

import pytest
import torch
from helpers.annealed import off_model, split_of
from torch import nn

from unveil.data import Dataset, LinearGaussian, Space
from unveil.errors import SettingError, at_terminal
from unveil.evaluation import SECTIONS, report
from unveil.evaluation.likelihood import annealed, bidirectional
from unveil.recipes import recipe
from unveil.store.files import plain


def data_of(truth, n=30):
    part = split_of(truth.sample(n))
    return Dataset("linear", Space((len(truth.bias),), "real"), part, part, part)


def model_with_weights(truth, **settings):
    model = off_model(truth, **settings)
    if not list(model.parameters()):
        model.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    return model


def test_where_an_encoder_is_blind_the_integral_tells():
    truth = LinearGaussian.draw(5, 2)
    blind = report(model_with_weights(truth, shift=8.0, width=0.5), data_of(truth), "test", ["quadrature"], samples=200)
    assert blind.nll.value > blind.sections["quadrature"].nll.value + 1
    assert "200 draws are too few" in blind.advice()[0]  # which effective draws say as well
    exact = -float(truth.log_likelihood(truth.sample(30)).mean())
    assert blind.sections["quadrature"].nll.value == pytest.approx(exact, abs=0.01)
    good = report(model_with_weights(truth, shift=0.0), data_of(truth), "test", ["quadrature"], samples=200)
    assert good.advice() == []


def test_what_is_left_of_the_bias_is_told_as_known_only_where_it_falls_as_one_over_k():
    truth = LinearGaussian.draw(5, 2)
    few = report(model_with_weights(truth, shift=8.0, width=0.5), data_of(truth), "test", samples=200).nats
    assert few.ess.value < 10
    exact = -float(truth.log_likelihood(truth.sample(30)).mean())
    assert few.nll.value - exact > 2 * few.bias.value > 0  # what the last doubling gained is far less than what is left
    assert f"by the draws, and at least {few.bias.value:.2g} too high" in dict(few.table())["-log p(x), K = 200"]
    with at_terminal():
        assert "--also annealing, can do better" in few.advice()[-1]
    assert "also='annealing', can do better" in few.advice()[-1]
    many = report(model_with_weights(truth, shift=0.5), data_of(truth), "test", samples=200).nats
    assert many.ess.value > 50
    assert "by the draws, and about " in dict(many.table())["-log p(x), K = 200"]


def test_every_section_is_a_record_that_can_be_written_or_is_refused_with_a_reason(digits, monkeypatch):
    for module, name in ((annealed, "annealed"), (bidirectional, "bidirectional")):
        monkeypatch.setattr(module, name, partial(getattr(module, name), temperatures=10, leapfrogs=2, chains=4))
    torch.manual_seed(0)
    model, _ = recipe("vae").given(latent=2, hidden=(16,)).compose(digits)
    found = report(model, digits, "test", SECTIONS, samples=5, images=12)
    assert set(found.sections) | set(found.refused) == set(SECTIONS)
    assert set(found.refused) == {"factors", "samples"}
    written = json.loads(json.dumps(plain(found.as_dict()), allow_nan=False))
    assert set(written["sections"]) == set(found.sections)
    for name, section in found.sections.items():
        assert all(isinstance(text, str) for row in section.table() for text in row), name
        assert all(isinstance(sentence, str) for sentence in section.advice()), name


def test_a_section_that_is_not_known_is_named_before_the_work(digits):
    with pytest.raises(SettingError, match="did you mean 'quadrature'"):
        report(None, digits, "test", ["quadratur"])
