"""Anomaly scores: false positives as often as stated, anomalies found, and what is scored where there is no log p(x)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases.basics import small
from cases.discrete import book, chosen
from helpers.scores import binary, linear, pixels, real
from scipy import stats

from unveil.data import LinearGaussian, from_arrays
from unveil.errors import DataError, SettingError
from unveil.evaluation.anomaly.complexity import code_length
from unveil.evaluation.anomaly.conformal import calibrate, p_values
from unveil.evaluation.anomaly.measured import Measured, measure
from unveil.evaluation.anomaly.overlap import Overlap
from unveil.evaluation.anomaly.scoring import score
from unveil.evaluation.anomaly.statistic import typicality
from unveil.evaluation.likelihood import drawing
from unveil.networks import Mlp
from unveil.parts import CrossEntropy, Net, Point

TRUTH = LinearGaussian.draw(6, 2)


def test_nats_at_the_exact_posterior_are_the_closed_form():
    x = TRUTH.sample(7)
    found = measure(linear(TRUTH), real(x), samples=3, seed=0, purpose="test")
    assert found.quantity == "-log p(x)"
    assert torch.allclose(found.nats, -TRUTH.log_likelihood(x), atol=1e-4)


@pytest.mark.parametrize("rows", [4_000, 12])  # of which the second cuts 30 draws into 12, 12 and 6
def test_with_too_wide_a_proposal_the_estimates_are_unbiased_for_the_evidence(rows, monkeypatch):
    monkeypatch.setattr(drawing, "ROWS", rows)
    x = TRUTH.sample(1).expand(600, 6)
    found = measure(linear(TRUTH, width=1.3), real(x), samples=30, seed=0, purpose="test")
    ratio = (-found.nats - TRUTH.log_likelihood(x[:1])).exp()
    assert ratio.std() > 0.01
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5


def test_every_rank_has_the_same_chance_exactly():
    everyone = torch.randn(40, generator=torch.Generator().manual_seed(0))
    ranks = [p_values(everyone[torch.arange(40) != one], everyone[one : one + 1]) for one in range(40)]
    assert sorted((40 * torch.cat(ranks)).round().int().tolist()) == list(range(1, 41))
    for fpr in (0.025, 0.1, 0.33):
        flags = 0
        for one in range(40):
            held = everyone[torch.arange(40) != one]
            flags += bool(everyone[one] > calibrate(held, fpr).threshold)
            assert (p_values(held, everyone[one : one + 1]) <= fpr) == (everyone[one] > calibrate(held, fpr).threshold)
        assert flags == int(fpr * 40)


def test_ties_only_lower_the_rate():
    everyone = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0])
    flags = sum(
        bool(everyone[one] > calibrate(everyone[torch.arange(10) != one], 0.3).threshold) for one in range(len(everyone))
    )
    assert flags == 0
    assert p_values(everyone[:9], torch.tensor([3.0])).item() == pytest.approx(4 / 10)


def test_the_interval_holds_the_true_rate_as_often_as_it_says():
    repeats, source, inside, rates = 2_000, torch.Generator().manual_seed(0), 0, []
    for _ in range(repeats):
        one = calibrate(torch.rand(150, generator=source), 0.05, level=0.9)
        rate = 1 - one.threshold  # of uniform scores
        inside += one.interval[0] <= rate <= one.interval[1]
        rates.append(rate)
    assert abs(inside - 0.9 * repeats) < 4 * (0.9 * 0.1 * repeats) ** 0.5
    assert one.rate == 7 / 151 <= 0.05
    assert abs(np.mean(rates) - one.rate) < 4 * np.std(rates) / repeats**0.5
    exact = stats.beta(7, 144)
    assert one.interval == pytest.approx((exact.ppf(0.05), exact.ppf(0.95)), rel=1e-6)


def test_the_chance_of_so_many_flags_is_the_beta_binomial_tail():
    one = calibrate(torch.arange(199.0), 0.02)
    exact = stats.betabinom(150, 4, 196)
    for flagged in (1, 3, 20, 150):
        assert one.chance(flagged, 150) == pytest.approx(exact.sf(flagged - 1), rel=1e-8)
    assert one.chance(0, 150) == 1


def test_training_and_calibrating_examples_are_told_by_what_they_are_and_not_by_names():
    model, data = linear(TRUTH), from_arrays(TRUTH.sample(600), name="toy")

    def said(split, held_out=data.validation, trained=data.train):
        return " ".join(score(model, split, held_out, fpr=0.1, samples=1, trained=trained).advice())

    every = said(data.whole())
    assert f"{len(data.train)} of the 600 scored examples are training examples" in every
    assert f"{len(data.validation)} of the 600 scored examples are those that the threshold comes from" in every
    assert f"{len(data.train)} of the {len(data.train)} scored" in said(data.train)
    other = said(real(TRUTH.sample(100, seed=7), "train"))
    for line in (other, said(data.test)):
        assert "training examples" not in line
        assert "say nothing" not in line
        assert "chosen on the validation split" in line
    assert "comes from training examples" in said(data.test, data.train)
    assert "training examples" not in said(data.train, trained=None)


def test_a_few_held_out_examples_among_many_are_told_of():
    """22 of 303 might be chance by their number alone, but continuous values are not equal by chance."""
    held = real(TRUTH.sample(22))
    many = real(torch.cat([held.values, TRUTH.sample(281, seed=7)]))
    (line,) = Overlap.of(many, held, None).advice(len(many))
    assert line.startswith("22 of the 303 scored examples are those that the threshold comes from")
    assert Overlap.of(real(many.values[22:]), held, None).advice(281) == []


def test_examples_of_few_values_are_equal_by_chance():
    def one(seed):
        return binary((torch.rand(300, 1, 1, 8, generator=torch.Generator().manual_seed(seed)) < 0.3).float())

    found = Overlap.of(one(0), one(1), one(2))
    assert found.trained > 200
    assert found.calibrating > 200
    assert found.advice(300) == []


def test_no_flags_are_no_certainty():
    x = real(TRUTH.sample(60))
    found = score(linear(TRUTH), real(TRUTH.sample(50, seed=9)), x, fpr=0.1, samples=1)
    told = dict(replace(found, flag=torch.zeros(50, dtype=torch.bool)).table())["flagged"]
    assert told.startswith("0 of 50 (0.00 ± 1.94 %)")


@pytest.mark.parametrize(
    ("n", "fpr", "message"),
    [(98, 0.01, "give --fpr 0.011 or more, or 99 scores"), (10, 0.0, "between 0 and 1"), (10, 1.0, "between 0 and 1")],
)
def test_a_rate_that_cannot_be_promised_is_refused(n, fpr, message):
    with pytest.raises(SettingError, match=message):
        calibrate(torch.arange(float(n)), fpr)
    assert calibrate(torch.arange(99.0), 0.01).threshold == 98
    assert calibrate(torch.arange(99.0), 0.29).allowed == 29  # 0.29 * 100 is below 29 in floating point


@pytest.mark.parametrize("statistic", ["typicality", "likelihood"])
def test_normal_examples_are_flagged_as_often_as_stated_and_their_p_values_are_uniform(statistic):
    repeats, size, model = 200, 20, linear(TRUTH, width=1.2)
    counts, first = [], []
    for repeat in range(repeats):
        x = TRUTH.sample(60 + size, seed=repeat)
        found = score(model, real(x[60:]), real(x[:60], "validation"), statistic=statistic, fpr=0.1, samples=2, seed=repeat)
        counts.append(found.flagged)
        first.append(round(float(found.p_value[0]) * (found.calibration.n + 1)))
        assert torch.equal(found.flag, found.p_value <= 0.1)
    rate = found.calibration.rate
    assert found.calibration.n == (45 if statistic == "typicality" else 60)
    assert rate == pytest.approx(4 / 46 if statistic == "typicality" else 6 / 61)
    # flags of one repeat share their threshold: the error is over repeats
    assert abs(np.mean(counts) - rate * size) < 4 * np.std(counts) / repeats**0.5
    ranks = np.array(first)  # uniform on 1 .. n + 1
    middle, spread = (found.calibration.n + 2) / 2, (((found.calibration.n + 1) ** 2 - 1) / 12) ** 0.5
    assert abs(ranks.mean() - middle) < 4 * spread / repeats**0.5
    assert stats.kstest((ranks - 0.5) / (found.calibration.n + 1), "uniform").pvalue > 1e-4


def test_the_centre_of_what_is_typical_lends_nothing_to_the_threshold():
    x = TRUTH.sample(40)
    found = score(linear(TRUTH), real(x[:5]), real(x, "validation"), fpr=0.1, samples=1)
    exact = -TRUTH.log_likelihood(x)
    held = (exact - found.centre).abs()
    near = (found.score[:, None] - held[:5, None]).abs() < 1e-3
    assert near.all()  # the score is the distance to the centre
    assert found.calibration.n == 30
    assert float(exact.min()) < found.centre < float(exact.max())


def test_what_is_typical_and_the_threshold_come_from_different_examples():
    nats = 2.0 ** torch.arange(16, dtype=torch.float64)  # a sum of some tells which
    fitted = typicality(Measured(real(torch.zeros(16, 1)), 0, "-log p(x)", nats))
    total = int(fitted.centre * 4)
    lent = torch.tensor([bool(total >> place & 1) for place in range(16)])
    assert lent.sum() == 4
    assert torch.equal(fitted.held.sort().values, (nats[~lent] - fitted.centre).abs().sort().values)


PROBABILITIES = torch.full((1, 12, 12), 0.3)


def pictures(n, seed):
    return (torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


@pytest.mark.parametrize(
    ("statistic", "inverted", "blank"),
    [("typicality", True, True), ("likelihood", True, False), ("complexity", True, True)],
)
def test_anomalies_are_found_but_for_simple_ones_by_the_likelihood_alone(statistic, inverted, blank):
    model, held = pixels(PROBABILITIES.logit()), binary(pictures(200, 0), "validation")
    usual = pictures(50, 1)
    odd = torch.cat([usual, 1 - usual, torch.zeros(10, 1, 12, 12)])
    found = score(model, binary(odd), held, statistic=statistic, fpr=0.05, samples=3)
    exact = -(odd * PROBABILITIES.log() + (1 - odd) * (1 - PROBABILITIES).log()).double().sum((1, 2, 3))
    assert torch.allclose(found.nats, exact, atol=1e-3)
    assert found.flag[:50].sum() <= 8  # 2.5 expected
    assert bool(found.flag[50:100].double().mean() > 0.9) is inverted
    assert bool(found.flag[100:].all()) is blank
    assert bool(found.flag[100:].any()) is blank
    said = " ".join(found.advice())
    assert "more than the" in said
    assert ("more probable than the data" in said) is (statistic != "complexity")


def test_the_code_is_a_probability_of_images_and_the_sequential_one():
    every = torch.tensor([[int(bit) for bit in f"{place:09b}"] for place in range(512)]).float().view(512, 1, 3, 3)
    assert float((-code_length(every)).exp().sum()) == pytest.approx(1, abs=1e-10)
    x = (torch.rand(1, 2, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    counts, length = {}, 0.0
    for channel in x[0].int().tolist():
        for row, line in enumerate(channel):
            for column, bit in enumerate(line):

                def at(r, c, channel=channel):
                    return channel[r][c] if r >= 0 and 0 <= c < 4 else 0

                context = (at(row, column - 1), at(row - 1, column - 1), at(row - 1, column), at(row - 1, column + 1))
                seen = counts.setdefault(context, [0, 0])
                length -= np.log((seen[bit] + 0.5) / (sum(seen) + 1))
                seen[bit] += 1
    assert code_length(x).item() == pytest.approx(length, rel=1e-12)
    with pytest.raises(SettingError, match="binary pixels"):
        code_length(torch.full((1, 1, 2, 2), 0.5))


def test_scores_are_a_function_of_the_seed_and_the_two_splits_share_no_noise():
    model, x = linear(TRUTH, width=2.0), real(TRUTH.sample(40))
    one, same, other = (score(model, x, x, fpr=0.1, samples=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.score, same.score)
    assert not torch.equal(one.nats, other.nats)
    held = measure(model, x, samples=2, seed=0, purpose="held out")
    assert not (held.nats - one.nats).eq(0).any()
    assert any("say nothing" in sentence for sentence in one.advice())


def point():
    return small(posterior=Net(Mlp((1, 6, 5), (8,), (3,)), Point(3)))


def test_examples_at_the_threshold_are_not_flagged(seeded):
    same = from_arrays(torch.zeros(300, 1, 6, 5, dtype=torch.uint8))  # without noise in z, every score ties
    found = score(point(), same.test, same.validation, fpr=0.2, statistic="likelihood")
    assert (found.score == found.calibration.threshold).all()
    assert not found.flag.any()
    assert (found.p_value == 1).all()


@pytest.mark.parametrize(
    ("make", "quantity", "kind"),
    [
        (lambda data: small(), "-log p(x)", None),
        (lambda data: point(), "distortion", None),
        (lambda data: small(likelihood=Net(Mlp((3,), (8,), (1, 6, 5)), CrossEntropy(3))), "cross-entropy + rate", "unit"),
        (lambda data: chosen(book()), "-ELBO", None),
    ],
)
def test_a_model_is_scored_by_the_best_that_it_has_and_says_what(make, quantity, kind, tiny, seeded):
    data = tiny if kind is None else from_arrays(tiny.train.values, measure=kind)
    found = score(make(data), data.test, data.validation, fpr=0.2, samples=3)
    assert found.quantity == quantity
    assert found.nats.isfinite().all()
    assert quantity in found.words
    assert any("no estimate of log p(x)" in sentence for sentence in found.advice()) is (quantity != "-log p(x)")
    assert "chosen on the validation split" in " ".join(found.advice())


def test_a_record_has_plain_data_and_columns_for_a_writer():
    x = TRUTH.sample(50)
    found = score(linear(TRUTH), real(x[:10]), real(x[10:], "validation"), fpr=0.1, samples=2, data="toy")
    columns = found.columns()
    assert list(columns) == ["row", "nats", "score", "p_value", "flag"]
    assert {len(column) for column in columns.values()} == {10}
    assert columns["flag"].dtype == bool
    record = json.loads(json.dumps(found.as_dict()))
    assert record["calibration"]["n"] == 30
    assert record["typical"]["n"] == 40
    assert "score" not in record
    assert [name for name, _ in found.table()][-2:] == ["threshold", "flagged"]


def test_what_cannot_be_scored_says_why(tiny):
    x = real(TRUTH.sample(40))
    for settings, message in [
        ({"statistic": "typical"}, "did you mean 'typicality'"),
        ({"fpr": 0.03}, r"30 held-out scores \(40 rows of the test split, of which 10 say .*\); give --fpr 0.033 or"),
        ({"samples": 0}, "at least 1"),
        ({"statistic": "complexity"}, "binary pixels"),
    ]:
        with pytest.raises(SettingError, match=message):
            score(linear(TRUTH), x, x, **{"fpr": 0.1, "samples": 1, **settings})
    with pytest.raises(DataError, match="in the space of the held-out"):
        score(linear(TRUTH), tiny.test, x, fpr=0.1)
    broken, blank = pixels(torch.full((1, 12, 12), -torch.inf)), binary(torch.zeros(40, 1, 12, 12))
    with pytest.raises(SettingError, match="40 of 40 held-out examples have nats that are not finite"):
        score(broken, blank, blank, fpr=0.1, samples=1)


def test_what_no_float_can_hold_is_the_least_probable_of_all():
    x = TRUTH.sample(41)
    x[0] = 1e25
    found = score(linear(TRUTH), real(x[:1]), real(x[1:]), fpr=0.1, samples=1)
    assert found.nats.isposinf().all()
    assert found.flag.all()
    assert found.p_value.item() == 1 / 31
