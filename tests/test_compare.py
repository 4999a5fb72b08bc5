"""Paired comparison: intervals that cover what they say, differences that are real, and values that cannot be compared."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from scipy import stats

from unveil.data import Split
from unveil.data.reading import Binarise, Plain
from unveil.errors import SettingError
from unveil.evaluation.likelihood.compare import bca, bootstrap, compare, holm
from unveil.evaluation.likelihood.contender import Contender
from unveil.evaluation.tails import beta_cdf, beta_quantile, student_quantile, student_tails


def contender(name, values, samples=100, quantity="-log p(x)", split="test", seed=0, **changed):
    part = Split(split, torch.zeros(len(values), 1), None, torch.arange(len(values)), Binarise(1))
    made = Contender.on(name, values, part, quantity=quantity, samples=samples, seed=seed)
    return replace(made, **changed)


def correlated(n, gap, seed, hard=3.0, own=0.5, count=2):
    """Values of models on images of which some are hard for all; each is `gap` worse than the one before."""
    source = torch.Generator().manual_seed(seed)
    shared = hard * torch.randn(n, generator=source, dtype=torch.float64)
    each = own * torch.randn(count, n, generator=source, dtype=torch.float64)
    return [80 + shared + each[place] + gap * place for place in range(count)]


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 181), (2, 3), (0.5, 4999.5), (99, 9902), (3e4, 3e4)])
def test_beta_tails_are_those_of_scipy(a, b):
    for p in (1e-6, 0.025, 0.3, 0.5, 0.975):
        x = float(stats.beta.ppf(p, a, b))
        assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9)
        assert beta_quantile(p, a, b) == pytest.approx(x, rel=1e-8)
    assert beta_cdf(-1.0, a, b) == 0
    assert beta_cdf(2.0, a, b) == 1


@pytest.mark.parametrize("degrees", [1, 2, 30, 9999])
def test_students_tails_are_those_of_scipy(degrees):
    for t in (0.0, 0.1, 1.0, -2.5, 8.0, 30.0):
        assert student_tails(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-8)
    for level in (0.5, 0.95, 0.999):
        assert student_quantile(level, degrees) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-8)


def test_the_p_value_and_the_closed_interval_are_those_of_the_paired_t_test():
    a, b = correlated(40, 0.1, seed=1)
    one = compare([contender("a", a), contender("b", b)], resamples=200).differences[0]
    sign = 1 if one.better == "a" else -1
    exact = stats.ttest_rel(b, a)
    assert one.p_value == pytest.approx(exact.pvalue, rel=1e-9)
    low, high = exact.confidence_interval(0.95)
    assert one.t_interval == pytest.approx(sorted((sign * low, sign * high)), rel=1e-9)
    assert one.gap.value == pytest.approx(float((b - a).mean()) * sign)
    assert one.wins == pytest.approx(float(((b - a) * sign > 0).double().mean()))


def test_the_bootstrap_interval_is_the_one_of_scipy_but_for_the_resamples():
    values = _skewed(60, 3)
    found = bca(values, bootstrap(values[:, None], 100_000, 0)[:, 0], 0.95)
    theirs = stats.bootstrap((values.numpy(),), lambda x, axis: x.mean(axis), n_resamples=100_000, method="BCa", rng=0)
    # a quantile of R resamples moves by sqrt(p (1 - p) / R) / density, the bias moves both ends: 0.02 standard errors
    error = float(values.std() / 60**0.5)
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=5 * 0.02 * error)
    percentile = torch.quantile(bootstrap(values[:, None], 100_000, 0)[:, 0], torch.tensor([0.025, 0.975]).double())
    assert found[0] > percentile[0] + 0.15 * error  # skewed to the right: both ends move that way
    assert found[1] > percentile[1] + 0.15 * error


def _skewed(n, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(n, generator=source, dtype=torch.float64).log() ** 2


def test_intervals_cover_the_true_difference_as_often_as_they_say():
    repeats, level, gap, covered, closed = 1_000, 0.9, 0.2, 0, 0
    for repeat in range(repeats):
        a, b = correlated(100, gap, seed=repeat)
        one = compare([contender("a", a), contender("b", b)], level=level, resamples=1_000, seed=repeat).differences[0]
        truth = gap if one.better == "a" else -gap
        covered += one.interval[0] <= truth <= one.interval[1]
        closed += one.t_interval[0] <= truth <= one.t_interval[1]
    spread = (level * (1 - level) * repeats) ** 0.5
    assert abs(covered - level * repeats) < 4 * spread
    assert abs(closed - level * repeats) < 4 * spread


def test_without_a_difference_a_real_one_is_seldom_told_however_many_models_there_are():
    repeats, alarms = 400, 0
    for repeat in range(repeats):
        values = correlated(60, 0.0, seed=repeat, count=4)
        models = [contender(f"m{place}", one) for place, one in enumerate(values)]
        found = compare(models, resamples=400, seed=repeat, pairs="best" if repeat % 2 else "all")
        assert found.compared == 6
        assert len(found.differences) == (3 if repeat % 2 else 6)
        alarms += any(one.verdict == "real" for one in found.differences)
    assert alarms < 0.05 * repeats + 4 * (0.05 * 0.95 * repeats) ** 0.5


def test_a_real_difference_is_told_and_a_null_one_is_not():
    a, b = correlated(2_000, 0.1, seed=0)
    c = a + 0.5 * torch.randn(2_000, generator=torch.Generator().manual_seed(9), dtype=torch.float64) - 0.005
    found = compare([contender("b", b), contender("a", a), contender("c", c)])
    verdicts = {frozenset((one.better, one.worse)): one.verdict for one in found.differences}
    assert verdicts == {
        frozenset("ab"): "real",
        frozenset("bc"): "real",
        frozenset("ac"): "not told",
    }
    assert list(found.figures)[-1] == "b"
    assert any("examples to tell" in sentence for sentence in found.advice())
    assert any("several seeds" in sentence for sentence in found.advice())
    assert len(found.table()) == 6


def test_pairing_matters():
    a, b = correlated(500, 0.1, seed=0)
    one = compare([contender("a", a), contender("b", b)]).differences[0]
    # own noise of 0.5 in each against hard images of 3.0 in both
    assert one.unpaired / one.gap.stderr == pytest.approx((9.25 / 0.25) ** 0.5, rel=0.1)
    assert one.correlation == pytest.approx(9 / 9.25, abs=0.01)
    shuffled = b[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    other = compare([contender("a", a), contender("b", shuffled)]).differences[0]
    width, wider = (pair.interval[1] - pair.interval[0] for pair in (one, other))
    assert wider > 4 * width
    assert other.gap.value == pytest.approx(one.gap.value)


def test_the_same_values_are_no_difference_and_a_constant_one_is():
    a, _ = correlated(50, 0.0, seed=0)
    found = compare([contender("a", a), contender("b", a.clone())])
    assert found.differences[0].verdict == "none"
    assert found.differences[0].p_value == 1
    shifted = compare([contender("a", a), contender("b", a.round() + 64), contender("c", a.round() + 65)])
    one = next(one for one in shifted.differences if one.better == "b" and one.worse == "c")
    assert one.interval == (1.0, 1.0)
    assert one.verdict == "real"


def test_an_interval_depends_on_the_seed_and_not_on_who_else_is_compared():
    a, b, c = correlated(300, 0.1, seed=0, count=3)
    two = compare([contender("a", a), contender("b", b)]).differences[0]
    three = compare([contender("c", c), contender("b", b), contender("a", a)])
    again = next(one for one in three.differences if {one.better, one.worse} == {"a", "b"})
    assert again.interval == two.interval
    assert compare([contender("a", a), contender("b", b)], seed=1).differences[0].interval != two.interval


def test_resampled_means_have_the_mean_and_the_variance_of_a_mean():
    values = torch.stack([_skewed(40, 0), _skewed(40, 1)], 1)
    means = bootstrap(values, 20_000, 0)
    assert means.shape == (20_000, 2)
    exact = values.var(0, correction=0) / 40
    assert ((means.mean(0) - values.mean(0)).abs() < 4 * (exact / 20_000).sqrt()).all()
    assert torch.allclose(means.var(0), exact, rtol=0.05)
    together = torch.cov(values.T, correction=0)[0, 1] / 40
    assert torch.cov(means.T)[0, 1] == pytest.approx(float(together), abs=4 * float((exact[0] * exact[1] / 20_000) ** 0.5))


def test_holm_corrects_as_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]


def test_a_difference_that_stands_alone_may_fall_to_the_correction():
    n, source = 100, torch.Generator().manual_seed(0)
    noise = torch.randn(6, n, generator=source, dtype=torch.float64)
    noise = (noise - noise.mean(1, keepdim=True)) / noise.std(1, keepdim=True)
    values = [80 + noise[0], 80 + noise[0] + noise[1] + 0.22]  # t = 2.2: p = 0.03
    pair = [contender(f"m{place}", one) for place, one in enumerate(values)]
    assert compare(pair).differences[0].verdict == "real"
    rest = [contender(f"r{place}", 79.9 + noise[0] + noise[place]) for place in (2, 3, 4)]
    found = compare(pair + rest)
    one = next(one for one in found.differences if {one.better, one.worse} == {"m0", "m1"})
    assert one.verdict == "perhaps"
    assert one.corrected > 0.05 > one.p_value


A = torch.linspace(70.0, 90.0, 60, dtype=torch.float64)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"quantity": "-ELBO"}, "what is compared"),
        ({"normalised": False}, "likelihood"),
        ({"reading": str(Binarise(255))}, "reading"),
        ({"split": "train"}, "split"),
        ({"fingerprint": "0" * 64}, "fingerprint"),
        ({"read_by": 1}, "binarisation"),
        ({"rows": torch.arange(60) + 1}, "other rows"),
        ({"values": A[:50], "rows": torch.arange(50)}, "how many examples"),
        ({"values": A[:50]}, "one value a row"),
        ({"values": A / 0}, "not finite"),
        ({"name": "a"}, "two models are named 'a'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(changed, message):
    with pytest.raises(SettingError, match=message) as caught:
        compare([contender("a", A), replace(contender("b", A + 1), **changed)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("settings", "message"), [({"level": 1.0}, "level between"), ({"resamples": 10}, "at least 100")])
def test_settings_that_cannot_be_say_why(settings, message):
    with pytest.raises(SettingError, match=message):
        compare([contender("a", A), contender("b", A + 1)], **settings)
    with pytest.raises(SettingError, match="at least two"):
        compare([contender("a", A)])


def test_another_k_or_proposal_or_another_split_is_a_caution_and_no_refusal():
    found = compare([contender("a", A, samples=50), contender("b", A + 1, samples=500, defensive=0.5)], resamples=100)
    said = " ".join(found.advice())
    assert "K = 50 and b with K = 500" in said
    assert "favours b" in said
    assert "a share of 0 of the draws of a" in said
    with pytest.raises(SettingError, match="told the label differs, False and True"):
        compare([contender("a", A), contender("b", A + 1, told=True)], resamples=100)
    bounds = [contender("a", A, 50, "-ELBO", "validation"), contender("b", A + 1, 500, "-ELBO", "validation")]
    said = " ".join(compare(bounds, resamples=100).advice())
    assert "K = 50" not in said  # a bound has no bias that hangs on K
    assert "decide on the test split" in said


def test_a_seed_matters_only_where_reading_is_random():
    plain = Split("test", torch.zeros(60, 1), None, torch.arange(60), Plain())
    made = [
        Contender.on(name, A + place, plain, quantity="-ELBO", samples=1, seed=place) for place, name in enumerate("ab")
    ]
    assert compare(made, resamples=100).read_by is None
    with pytest.raises(SettingError, match="binarisation"):
        compare([contender("a", A, seed=0), contender("b", A + 1, seed=1)])


def test_a_record_is_plain_data():
    found = compare([contender("a", A), contender("b", A + _skewed(60, 0))], resamples=100)
    assert json.loads(json.dumps(asdict(found)))["differences"][0]["worse"] == "b"


def test_the_number_of_images_asked_for_would_tell_after_the_correction():
    """With 15 pairs a corrected p is 15 times a single one: where these images did not tell, it takes more of them."""
    values = correlated(1_000, 0.0, seed=3, count=6)
    values[1] = values[1] + 2.9 * float((values[1] - values[0]).std()) / 1_000**0.5 - (values[1] - values[0]).mean()
    found = compare([contender(str(place), one) for place, one in enumerate(values)], resamples=200)
    asked = [sentence for sentence in found.advice() if "examples to tell" in sentence]
    assert asked
    for sentence in asked:
        assert int(sentence.split("about ")[1].split(" examples")[0].replace(",", "")) > 1_000


def test_estimates_that_rest_on_few_draws_are_cautioned():
    a, b = correlated(200, 0.1, seed=2)
    found = compare([contender("a", a, few=0.3), contender("b", b, few=0.01)], resamples=200)
    assert sum("few effective draws" in one for one in found.cautions) == 1
    assert "30% of the estimates of a" in " ".join(found.cautions)
    assert not compare([contender("a", a, few=0.01), contender("b", b)], resamples=200).cautions
