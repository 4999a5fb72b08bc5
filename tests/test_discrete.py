"""Discrete latents against enumeration: masses that sum to one, and true nats."""

from math import log

import pytest
import torch
from cases.discrete import book, books, chosen, one_hot, writer
from helpers.discrete import batch, every, exact

from unveil.errors import SettingError
from unveil.models import divergence
from unveil.objectives import Commitment, ScoreFunction
from unveil.parts import (
    AutoregressiveCodes,
    Codebook,
    Lattice,
    OneHot,
    Quantised,
    ResidualCodebook,
    UniformCodes,
    UniformOneHot,
)

pytestmark = pytest.mark.usefixtures("seeded")

ALPHABETS = {
    "codebook": lambda: book(3),
    "residual": lambda: ResidualCodebook([book(2), book(2)]),
    "lattice": lambda: Lattice((2, 3)),
}
MODELS = {
    "one-hot": one_hot,
    **{f"{name}-uniform": lambda make=make: chosen(make(), UniformCodes, 2) for name, make in ALPHABETS.items()},
    **{f"{name}-writer": lambda make=make: chosen(make(), writer, 2) for name, make in ALPHABETS.items()},
}


@pytest.mark.parametrize("name", MODELS)
def test_mass_sums_to_one(name):
    model = MODELS[name]()
    z = every(model)
    assert model.prior().log_prob(z).detach().exp().sum() == pytest.approx(1, abs=1e-5)
    q = model.encode(batch().x)
    assert torch.allclose(q.log_prob(z[:, None]).exp().sum(0), torch.ones(4), atol=1e-5)
    assert torch.allclose(divergence(q, model.prior()), _rate(q, model.prior(), z), atol=1e-5)


def _rate(q, p, z):
    log_q, log_p = q.log_prob(z[:, None]), p.log_prob(z)[:, None]
    return torch.where(log_q.isfinite(), log_q.exp() * (log_q - log_p), 0.0).sum(0)


@pytest.mark.parametrize("name", MODELS)
def test_distortion_and_rate_bound_log_p_and_the_estimate_of_p_is_a_lower_bound_or_unbiased(name):
    """With certain codes exp(-nll) is one term of the sum over z that p(x) is; with one-hot draws p(x) in the mean."""
    model, given = MODELS[name](), batch()
    cost, log_p = exact(model, given)
    draws = 2000 if name == "one-hot" else 1
    with torch.no_grad():
        draw = model.draw(given, draws)
    assert (cost >= -log_p - 1e-4).all()
    if name == "one-hot":
        ratio = (draw.log_w - log_p).exp()
        assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / draws**0.5).all()
        assert ((draw.distortion + draw.rate - cost).abs() < 4 * draw.log_px.std(0) / draws**0.5).all()
    else:
        assert torch.allclose(draw.distortion + draw.rate, cost, atol=1e-4)
        assert torch.allclose(draw.log_w[0], -cost, atol=1e-4)
        assert (draw.log_w[0] < log_p).all()
        assert not draw.log_q[0].any()


def test_the_uniform_rate_is_positions_times_the_logarithm_of_codes():
    for alphabet, nats in ((book(7), 3 * log(7)), (books(), 3 * 2 * log(5)), (Lattice((8, 5)), 3 * log(40))):
        draw = chosen(alphabet).draw(batch(), 5)
        assert draw.log_q[0].shape == draw.log_p[0].shape == (5, 4)
        assert torch.allclose(draw.rate, torch.full((4,), nats))
        assert torch.allclose(-draw.log_p[0], torch.full((5, 4), nats))


def test_what_is_no_code_has_no_mass():
    model = chosen(book())
    z = model.draw(batch()).z[0]
    assert model.prior().log_prob(z).isfinite().all()
    assert model.prior().log_prob(z + 1e-3).isneginf().all()
    q = model.encode(batch().x)
    assert q.log_prob(model.prior().sample((1, 4))).isneginf().any()


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: OneHot(0, 3), "variable"),
        (lambda: OneHot(2, 3, temperature=0.0), "positive"),
        (lambda: OneHot(2, 3, anneal=-1.0), "keep it"),
        (lambda: UniformOneHot(2, 1), "2 classes"),
        (lambda: Codebook(1, 2), "at least 2"),
        (lambda: Codebook(4, 2, 1.0), "decay"),
        (lambda: ResidualCodebook([]), "at least one"),
        (lambda: ResidualCodebook([Codebook(4, 2), Codebook(5, 2)]), "the same"),
        (lambda: Lattice((5, 1)), "at least 2"),
        (lambda: Quantised(book(), 0), "position"),
        (lambda: AutoregressiveCodes(book(), 2, width=6, heads=4), "multiple"),
        (lambda: AutoregressiveCodes(book(), 2, layers=0), "at least 1"),
        (lambda: ScoreFunction(1), "at least 2"),
        (lambda: Commitment(-1.0), "at least 0"),
    ],
)
def test_settings_that_cannot_be_are_errors_that_say_what_to_do(make, hint):
    with pytest.raises(SettingError, match=hint):
        make()
