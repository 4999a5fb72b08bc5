"""What the doctor sees though something stands in its way: values that are no numbers, flows, large books, few examples."""

import pytest
import torch
from helpers.doctor import (
    AXES,
    TRUTH,
    apart,
    changed,
    filled,
    gaussian,
    in_memory,
    likelihood,
    linear_data,
    linear_run,
    posterior,
    self_made,
)
from helpers.doctor import E as ENTRIES
from helpers.verdicts import composed

from unveil.cli.progress import TrainingBar
from unveil.data import from_arrays
from unveil.distributions import DiagonalGaussian
from unveil.doctor import NonFinite, examine_run, latent
from unveil.doctor.case import Case
from unveil.doctor.latent import dead_codes
from unveil.doctor.likelihood import CERTAIN, MISFIT, _rescaled
from unveil.doctor.nats import examples_not_finite
from unveil.doctor.training import still_falling
from unveil.errors import SettingError
from unveil.evaluation import evaluate
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Rate
from unveil.parts import CrossEntropy, Gaussian, Net, Standard
from unveil.training.watching import Watched

MARK = 77.0


def shy(x):
    """The exact posterior, which gives no number for what is marked."""
    exact = posterior(x)
    return gaussian(exact.mean / (x[:, :1] != MARK), exact.scale)


def marked(**rows):
    data = linear_data()
    for split, row in rows.items():
        data.split(split).values[row, 0] = MARK
    return data


def whats(findings):
    return [finding.what for finding in findings]


# values that are no numbers


def named(run, culprit):
    """A case whose lost steps came to grief on that."""
    case = Case(run, run.data)
    case.memo["culprit"] = culprit
    return list(examples_not_finite(case))


def test_a_lost_step_hides_no_other_examples_than_those_it_names():
    run = linear_run(marked(train=[3, 8], test=[9]), posterior=shy)
    rows = [int(run.data.train.rows[row]) for row in (3, 8)]
    test = int(run.data.test.rows[9])
    unknown = named(run, SettingError("nobody knows"))[0].evidence
    assert f"2 of n = 1,600 in train (rows {rows[0]}, {rows[1]} of" in unknown
    one = named(run, NonFinite(1, "", "x", (rows[0],), True, 1))[0].evidence
    assert f"1 of n = 1,600 in train (rows {rows[1]} of" in one
    both = named(run, NonFinite(1, "", "x", tuple(rows), True, 1))[0].evidence
    assert "train" not in both
    assert f"in test (rows {test} of" in both


def test_one_value_that_is_no_number_does_not_hide_over_fitting():
    data = marked(train=[3])
    for split in ("validation", "test"):
        x = data.split(split).values
        inside = (x - TRUTH.bias) @ AXES @ AXES.T + TRUTH.bias
        data = changed(data, split, inside + 2 * (x - inside))
    data.validation.values[5, 0] = MARK
    found = examine_run(linear_run(data, posterior=shy), data)
    assert whats(found) == [
        "-ELBO of some examples is not finite",
        "the model is over-fitted: it explains training examples much better than others",
    ]
    assert "(n = 1,599, 1 without a finite one left out)" in found[1].evidence


def test_one_value_that_is_no_number_does_not_hide_a_misfit_or_the_course():
    run = linear_run(marked(train=[3]), posterior=shy, likelihood=lambda z: likelihood(z, 1.0))
    assert any("does not fit" in what for what in whats(examine_run(run, run.data)))
    run.model.likelihood.normalised = False  # the bar is then a share of the median
    case = Case(run, run.data)
    case.__dict__["records"] = [{"epoch": k, "validation": {"loss": 100.0 - 5 * k}} for k in range(1, 11)]
    assert len(list(still_falling(case))) == 1


# posteriors that tell no variance


class Untold(DiagonalGaussian):
    """As a flow is: neither mean nor variance are known."""

    @property
    def variance(self):
        raise NotImplementedError


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_posterior_without_variances_is_seen_to_collapse(collapsed):
    def told(x):
        exact = posterior(x)
        mean, scale = (0 * exact.mean, torch.ones(2)) if collapsed else (exact.mean, exact.scale)
        return Untold(mean, scale.log().expand_as(mean))

    width = (TRUTH.weight.square().sum(1) + TRUTH.scale**2).sqrt()
    alone = (lambda z: gaussian(TRUTH.bias.expand(*z.shape[:-1], ENTRIES), width)) if collapsed else likelihood
    run = linear_run(posterior=told, likelihood=alone)
    found = examine_run(run, run.data)
    collapse = ["the posterior has collapsed: z says nothing of x"] * collapsed
    assert whats(found) == [*collapse, "the scales of the posterior were not looked at"]
    assert "Untold" in found[-1].evidence


# books


def book_of(codes, chosen):
    """What is said of a book in which examples choose by `chosen`, their index of (n,) values of an entry of x."""
    run = self_made(Gaussian(ENTRIES), *apart(filled(0, 0), -20, 20), codes=codes)
    table = run.model.prior.alphabet.table
    run.model.posterior.function = lambda x: run.model.prior.alphabet.quantise(table[chosen(x[:, 1])][:, None])
    return list(dead_codes(Case(run, run.data)))


def uniform(codes, count=None):
    return lambda entry: (torch.special.ndtr(entry) * (count or codes)).long().clamp(0, (count or codes) - 1)


@pytest.mark.parametrize(("count", "severity"), [(512, None), (300, None), (100, "doubtful"), (20, "wrong"), (1, "wrong")])
def test_dead_codes_of_a_book_that_is_large_for_its_choices(count, severity):
    """1,500 choices by 512 codes, a seventh of what was asked for once; equal use would choose 485."""
    found = book_of(512, uniform(512, count))
    assert [finding.severity for finding in found] == [severity] * (severity is not None)
    if found:
        assert f"{count} of 512 codes" in found[0].evidence
        assert "equal use would choose 485" in found[0].evidence


def test_a_book_of_two_of_which_one_is_dead():
    assert len(book_of(2, lambda entry: torch.zeros(len(entry), dtype=torch.int64))) == 1
    assert book_of(2, uniform(2)) == []


# few examples


@pytest.mark.parametrize("n", [20, 50])
def test_scales_of_few_examples_with_entries_that_depend_on_each_other_are_no_misfit(n):
    """Of 300 data sets drawn from the likelihood none; there was none in 1,000 others either.

    What is tried on its own rows gains more than the bar from noise in 8 % of them at n = 20, and in 1.5 % at n = 50.
    """
    source, size, alarms = torch.Generator().manual_seed(n), 200, 0
    for _ in range(300):
        weight = torch.randn(1, size, generator=source)
        noise = torch.randn(n, 1, generator=source) @ weight + 0.3 * torch.randn(n, size, generator=source)
        u = torch.special.ndtr(noise / (weight.square().sum(0) + 0.09).sqrt())
        gain, error = _rescaled(u)
        alarms += gain > MISFIT * size and gain > CERTAIN * error
    assert alarms == 0


def test_scales_that_are_wrong_are_a_gain_of_known_size():
    """Entries of half and of twice the deviation gain 1/2 (v - 1 - log v) each, but for the ranks' ends."""
    scale = torch.tensor([0.5, 1.0, 1.5, 1.0])
    u = torch.special.ndtr(scale * torch.randn(4_000, 4, generator=torch.Generator().manual_seed(0)))
    gain, error = _rescaled(u)
    v = scale.double().square()
    assert abs(gain - float(0.5 * (v - 1 - v.log()).sum())) < 4 * error + 1e-2


# names


def test_a_cross_entropy_is_called_by_its_name_everywhere():
    images = torch.randint(0, 256, (300, 1, 6, 5), generator=torch.Generator().manual_seed(0))
    tiny = from_arrays(images.to(torch.uint8), measure="unit")
    torch.manual_seed(0)
    shape = tuple(tiny.space.shape)
    model = VAE(Standard(2), Net(Mlp(shape, (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), shape), CrossEntropy(3)))
    assert evaluate(model.eval(), tiny.test, samples=1).table()[0][0] == "cross-entropy + rate"
    run = in_memory(model, tiny, Distortion() + 4 * Rate())
    assert Case(run, tiny).figure == "cross-entropy + rate"
    assert "what was minimised is not cross-entropy + rate" in whats(examine_run(run, tiny))
    bar = TrainingBar()
    bar.begin(Watched(10, 0, 1, 1, model.normalised, tiny, lambda: model, lambda step: 0.0))
    assert bar.measured == "cross-entropy + rate"
    bar.close()


def test_a_semi_supervised_model_is_looked_at_without_labels(tiny):
    data, model, objective = composed("m2", tiny, known=100)
    assert data.train.labelled.any()
    case = Case(in_memory(model, data, objective), data)
    assert not any(case.sample(name).labelled.any() for name in data.splits if data.split(name).labelled is not None)
    assert data.train.labelled.any()
    assert all(nats.isfinite().all() for nats in case.nats.values())


def test_a_model_that_says_a_hundredth_of_a_nat_in_one_dimension_has_collapsed(monkeypatch):
    monkeypatch.setattr("unveil.doctor.latent._information", lambda case: (torch.tensor([0.03, 0.001]), "dimension", 500))
    found = list(latent.collapsed(None))
    assert [(one.severity, "collapsed" in one.what) for one in found] == [("wrong", True)]
    monkeypatch.setattr("unveil.doctor.latent._information", lambda case: (torch.tensor([2.0, 0.001]), "dimension", 500))
    assert [one.severity for one in latent.collapsed(None)] == ["note"]
