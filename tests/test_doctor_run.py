"""What the doctor says of models: nothing of right ones, and of each planted ailment that and nothing else."""

from dataclasses import replace
from math import log

import pytest
import torch
from helpers.doctor import (
    AXES,
    NOISE,
    TRUTH,
    E,
    Given,
    apart,
    changed,
    filled,
    gaussian,
    in_memory,
    likelihood,
    linear_data,
    linear_run,
    only,
    posterior,
    said,
    self_made,
)

from unveil.doctor import examine_run
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.objectives import Capacity, Distortion, Rate, Warmup
from unveil.parts import Bernoulli, Columns, Gaussian, Isotropic, Laplace, OneHot, Standard, StudentT, UniformOneHot

MARGINAL = (TRUTH.weight.square().sum(1) + NOISE**2).sqrt()
"""The standard deviation of each entry when nothing is known of z."""


def examined(run):
    return examine_run(run, run.data)


def test_nothing_is_wrong_with_the_truth():
    run = linear_run()
    assert said(examined(run)) == []


def marginal(z):
    """p(x|z) of somebody who does not listen to z."""
    return gaussian(TRUTH.bias.expand(*z.shape[:-1], E), MARGINAL)


def test_a_collapsed_posterior_is_wrong():
    run = linear_run(posterior=lambda x: gaussian(torch.zeros(len(x), 2), torch.ones(2)), likelihood=marginal)
    finding = only(examined(run), "wrong", "the posterior has collapsed")
    assert "none of 2 dimensions" in finding.evidence


def test_dimensions_that_say_nothing_are_named():
    def wide(x):
        exact = posterior(x)
        return gaussian(torch.cat([exact.mean, torch.zeros(len(x), 1)], 1), torch.cat([exact.scale, torch.ones(1)]))

    run = linear_run(posterior=wide, likelihood=lambda z: likelihood(z[..., :2]), prior=Standard(3))
    finding = only(examined(run), "note", "1 of 3 dimensions of z say nothing of x")
    assert finding.evidence.startswith("dimensions 2 say")


def test_the_information_of_a_dimension_is_that_of_its_channel():
    """Of the truth each of the two dimensions says 1/2 log(1 + 4 / 0.25) nats."""

    def wide(x):
        exact = posterior(x)
        return gaussian(torch.cat([exact.mean, torch.zeros(len(x), 1)], 1), torch.cat([exact.scale, torch.ones(1)]))

    run = linear_run(posterior=wide, likelihood=lambda z: likelihood(z[..., :2]), prior=Standard(3))
    total = float(examined(run)[0].evidence.split("; ")[1].split()[0])
    assert total == pytest.approx(log(1 + 4 / NOISE**2), rel=0.03)


def test_one_hot_variables_that_say_nothing_are_named():
    data = self_made(Bernoulli(1), *apart(filled(-1), -30, 30), measure="binary").data

    def chosen(x):
        first = 40 * x[:, :1] - 20
        return OneHot(2, 2)(torch.cat([first, -first, torch.zeros(len(x), 2)], 1))

    def decoded(z):
        first = 60 * z[..., 0, :1] - 30
        return Bernoulli(1)(torch.cat([first, torch.full((*first.shape[:-1], E - 1), -1.0)], -1))

    model = VAE(UniformOneHot(2, 2), Given(chosen), Given(decoded, ("binary",)))
    assert "variables 1 say" in only(examined(in_memory(model, data)), "note", "1 of 2 variables of z").evidence


def test_layers_that_say_nothing_are_named():
    run = linear_run()
    whole = run.model.draw

    def layered(batch, samples=1, gradient="pathwise"):
        draw = whole(batch, samples, gradient)
        (kl,), (z,) = draw.kl, draw.z
        return replace(draw, posterior=None, prior=None, z=(z, z), divergences=lambda: (kl, torch.zeros_like(kl)))

    run.model.draw = layered
    found = examined(run)
    assert [finding.what for finding in found[1:]] == ["the scales of the posterior were not looked at"]
    assert only(found[:1], "note", "1 of 2 layers of z say nothing of x").evidence.startswith("layers 1 say")


@pytest.mark.parametrize(("log_scale", "words"), [(-5.9, "vanish"), (5.9, "explode")])
def test_log_variances_of_the_posterior_at_their_bounds(log_scale, words):
    scales = NOISE * (1 - AXES.square().sum(1)).sqrt()

    def extreme(x):
        seen = (x - TRUTH.bias) @ AXES
        mean = seen if log_scale < 0 else 500 * seen.sign()
        return gaussian(mean, torch.full((2,), log_scale).exp())

    def fitting(z):
        return gaussian(z @ AXES.T + TRUTH.bias, scales) if log_scale < 0 else marginal(z)

    finding = only(examined(linear_run(posterior=extreme, likelihood=fitting)), "doubtful", f"of the posterior {words}")
    assert finding.evidence.startswith("100.0%")


@pytest.mark.parametrize(
    ("head", "kinds"),
    [(Gaussian(E), 0), (Laplace(1), 0), (StudentT(1), 1), (Columns(["real"] * E), 0), (Columns(["positive"] * E), 0)],
    ids=["gaussian", "laplace", "student", "real", "positive"],
)
def test_a_scale_of_the_likelihood_that_vanishes(head, kinds):
    base = filled(0, 0, *[0] * kinds)
    base[2 * E - 1] = -24.0
    measure = head.measures[0]
    run = self_made(head, *apart(base, -20, 20), measure=measure, columns=head.kinds if measure == "columns" else ())
    finding = only(examined(run), "doubtful", "the scale of the likelihood vanishes")
    assert finding.evidence.startswith("12.5%")


def test_one_scale_for_all_that_explodes():
    run = self_made(Isotropic(1, 350.0, learned=False), *apart(filled(0), -20_000, 20_000))
    assert only(examined(run), "doubtful", "the scale of the likelihood explodes").evidence.startswith("100.0%")


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_scales_are_at_their_bounds_in_the_unit_of_the_head(unit):
    head = Isotropic(1, 1.0, learned=False).fit(unit)
    assert "the scale of the likelihood" not in str(examined(self_made(head, *apart(filled(0), -20, 20))))
    tight = Isotropic(1, 1 / 380, learned=False).fit(unit)
    assert any("likelihood vanishes" in one.what for one in examined(self_made(tight, *apart(filled(0), -20, 20))))


@pytest.mark.parametrize(("codes", "severity"), [(2, None), (6, "doubtful"), (40, "wrong")])
def test_dead_codes_are_counted(codes, severity):
    found = examined(self_made(Gaussian(E), *apart(filled(0, 0), -20, 20), codes=codes))
    if severity is None:
        assert found == []
    else:
        finding = only(found, severity, "codes are dead")
        assert f"2 of {codes} codes are chosen at all, with perplexity 2.0" in finding.evidence


def test_codes_that_are_all_chosen_but_hardly_ever_are_as_good_as_dead():
    run = self_made(Gaussian(E), *apart(filled(0, 0), -20, 20), codes=20)
    book = run.model.prior.alphabet
    book.table.copy_(torch.cat([-1 - 1e-5 * torch.arange(10), 1 + 1e-5 * torch.arange(10)])[:, None])

    def rarely(x):
        turn = (3 * x[:, 1].abs() - 4).clamp(0, 9).floor()
        return book.quantise((x[:, 0].sign() * (1 + 1e-5 * turn))[:, None, None])

    run.model.posterior.function = rarely
    used, perplexity = only(examined(run), "doubtful", "codes are dead").evidence.split(" with perplexity ")
    assert int(used.split()[0]) >= 10
    assert 2 < float(perplexity.split(",")[0]) < 5


def noisier(data, split, factor):
    """The same examples with noise of a larger scale."""
    x = data.split(split).values
    inside = (x - TRUTH.bias) @ AXES @ AXES.T + TRUTH.bias
    return changed(data, split, inside + factor * (x - inside))


@pytest.mark.parametrize(("factor", "severity"), [(1.2, "doubtful"), (2.0, "wrong")])
def test_over_fitting_is_found(factor, severity):
    data = noisier(noisier(linear_data(), "validation", factor), "test", factor)
    finding = only(examined(linear_run(data)), severity, "the model is over-fitted")
    assert "on train" in finding.evidence
    assert "on test" in finding.evidence


def test_a_test_split_unlike_the_others_is_no_over_fitting():
    only(examined(linear_run(noisier(linear_data(), "test", 1.5))), "doubtful", "test split is harder than the validation")


def test_examples_unlike_all_others_are_named():
    data = linear_data()
    data.train.values[[5, 50]] += 30 * torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1])
    finding = only(examined(linear_run(data)), "note", "some examples are unlike all others")
    assert {str(int(row)) for row in data.train.rows[[5, 50]]} <= set(finding.evidence.replace(",", " ").split())


def test_examples_of_which_the_model_says_no_number_are_named():
    data = linear_data()
    data.test.values[9, 0] = 77.0
    run = linear_run(data, posterior=lambda x: gaussian(posterior(x).mean / (x[:, :1] != 77), posterior(x).scale))
    finding = only(examined(run), "wrong", "-ELBO of some examples is not finite")
    assert f"1 of n = 200 in test (rows {int(data.test.rows[9])} of" in finding.evidence


def test_weights_that_are_not_finite_are_all_that_is_said():
    run = linear_run()
    with torch.no_grad():
        run.model.anything.fill_(torch.nan)
    assert "model.anything" in only(examined(run), "wrong", "weights of the model are not finite").evidence


DONE = {"outcome": {"steps": 320, "finished": True, "best_step": 320, "best_value": 1.0}, "training": {"batch_size": 100}}
"""Twenty epochs of 16 steps."""


def test_a_kl_weight_that_never_reached_one():
    finding = only(
        examined(linear_run(objective=Distortion() + Warmup(Rate(), 40.0), **DONE)), "doubtful", "the KL weight never"
    )
    assert "epoch 20 of n = 20, where it was 0.50" in finding.evidence
    assert examined(linear_run(objective=Distortion() + Warmup(Rate(), 20.0), **DONE)) == []


def test_weights_chosen_before_the_warm_up_was_over():
    early = {**DONE, "outcome": {**DONE["outcome"], "best_step": 48}}
    run = linear_run(objective=Distortion() + Warmup(Rate(), 10.0), **early)
    finding = only(examined(run), "doubtful", "never reached one")
    assert "epoch 3 of n = 20, where it was 0.30" in finding.evidence


def test_a_capacity_that_never_reached_its_size():
    objective = Distortion() + Capacity(Rate(), 25.0, 50.0)
    finding = only(examined(linear_run(objective=objective, **DONE)), "doubtful", "capacity never reached")
    assert "10 of 25 nats" in finding.evidence


def test_another_beta_is_a_note():
    finding = only(examined(linear_run(objective=Distortion() + Warmup(4 * Rate(), 0.0))), "note", "not -ELBO")
    assert "counted 4 times" in finding.evidence
    assert examined(linear_run(objective=2 * (Distortion() + Rate()))) == []


def test_interrupted_training_is_doubtful():
    settings = {**DONE, "training": {"batch_size": 100, "epochs": 40}}
    assert (
        "320 of n = 640 steps"
        in only(examined(linear_run(status="interrupted", **settings)), "doubtful", "training was interrupted").evidence
    )


def test_an_examination_is_a_function_of_the_seed_and_changes_nothing():
    run = linear_run(noisier(linear_data(), "test", 1.5), likelihood=lambda z: likelihood(z, 1.0))
    run.model.train()
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    assert len(first := examined(run)) == 2
    assert torch.equal(torch.random.get_rng_state(), before)
    assert run.model.training
    torch.manual_seed(10)
    assert first == examined(run)
    assert first != examine_run(run, run.data, seed=1)


def test_a_model_for_other_data_is_refused(tiny):
    with pytest.raises(SettingError):
        examine_run(linear_run(), tiny)
