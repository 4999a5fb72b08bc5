"""Whether a likelihood fits: nothing is said where data were drawn from it, and the right thing where they were not."""

from math import log

import pytest
import torch
from helpers.doctor import E, apart, between, filled, only, said, self_made

from unveil.doctor import examine_run
from unveil.parts import (
    Bernoulli,
    BetaBinomial,
    Columns,
    ContinuousBernoulli,
    CrossEntropy,
    DiscretisedLogistic,
    Gaussian,
    Isotropic,
    Laplace,
    NegativeBinomial,
    OptimalSigma,
    Poisson,
    StudentT,
)

KINDS = {
    "gaussian": (Gaussian(E), filled(0, log(0.5)), -20, 20, "real"),
    "isotropic": (Isotropic(1, 0.3, learned=False), filled(0), -20, 20, "real"),
    "laplace": (Laplace(1), filled(0, 0), -80, 80, "real"),
    "student": (StudentT(1), filled(0, 0, 0.5), -1e4, 1e4, "real"),
    "continuous bernoulli": (ContinuousBernoulli(1), filled(1), -60, 60, "unit"),
    "bernoulli": (Bernoulli(1), filled(-1), -30, 30, "binary"),
    "poisson": (Poisson(1), filled(1.5), 0, 6, "count"),
    "negative binomial": (NegativeBinomial(1), filled(1.5, 3), 0, 7, "count"),
    "logistic": (DiscretisedLogistic(64, 1), filled(0, -2), -4, 4, "levels"),
    "beta binomial": (BetaBinomial(64, 1), filled(0, 2), -12, 12, "levels"),
}
"""A likelihood, its parameters, those of the first entry for either code, and the measure."""


def made_by(kind, parameters=None):
    """A right run of that kind, perhaps with other parameters."""
    head, usual, low, high, measure = KINDS[kind]
    return self_made(head, *apart(usual if parameters is None else parameters, low, high), measure=measure, levels=64)


def examined(run):
    return examine_run(run, run.data)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wrong_where_data_are_drawn_from_the_likelihood(kind):
    assert said(examined(made_by(kind))) == []


def test_nothing_is_wrong_with_columns_drawn_from_theirs():
    kinds = ("real", "positive", "count", "ordinal:4", "categorical:3")
    base = 0.3 * torch.randn(*Columns(kinds).needs((5,)), generator=torch.Generator().manual_seed(0))
    run = self_made(Columns(kinds), *apart(base, -20, 20), measure="columns", columns=kinds)
    assert said(examined(run)) == []


def test_nothing_is_wrong_with_gray_values_under_their_cross_entropy():
    """It is no likelihood of theirs, but one of their binarised reading, and that is what is ranked."""
    run = made_by("continuous bernoulli")
    mean = run.model.likelihood(torch.tensor([[[-1.0]], [[1.0]]])).mean
    run.model.likelihood.function = between(CrossEntropy(1), *mean.logit())
    run.model.likelihood.normalised = False
    assert said(examined(run)) == []


@pytest.mark.parametrize(
    ("kind", "made", "head", "given", "words"),
    [
        ("gaussian", filled(0, log(0.25)), Gaussian(E), filled(0, log(1)), "too broad"),
        ("gaussian", filled(0, log(1)), Gaussian(E), filled(0, log(0.25)), "too sure"),
        ("gaussian", filled(0.5, 0), Gaussian(E), filled(0, 0), "off to one side, x is more often above"),
        ("laplace", filled(0, 0), Gaussian(E), filled(0, log(2)), "heavier tails"),
        ("negative binomial", filled(1.5, 1), Poisson(1), filled(1.5), "too sure"),
        ("bernoulli", filled(-1), Bernoulli(1), filled(-3), "off to one side, x is more often above"),
        ("logistic", filled(0, -2), DiscretisedLogistic(64, 1), filled(0, -1), "too broad"),
    ],
    ids=["broad", "sure", "shifted", "tails", "dispersed", "biased", "levels"],
)
def test_a_likelihood_that_does_not_fit_is_found_and_described(kind, made, head, given, words):
    run = made_by(kind, made)
    run.model.likelihood.function = between(head, *apart(given, *KINDS[kind][2:4]))
    finding = only(examined(run), "doubtful", "likelihood does not fit")
    assert words in finding.what
    assert "39 draws" in finding.evidence


def test_the_size_of_a_misfit_is_the_divergence_of_the_two_densities():
    """A scale twice too large loses log 2 + 1/8 - 1/2 nats an entry, most of which 20 bins of ranks gain back."""
    run = made_by("gaussian")
    run.model.likelihood.function = between(Gaussian(E), *apart(filled(0, log(0.5) + 2 * log(2)), -20, 20))
    gain = float(only(examined(run), "doubtful", "does not fit").evidence.split(" ± ")[0].split()[-1])
    exact = E * (log(2) + 1 / 8 - 1 / 2)
    assert 0.8 * exact < gain < 1.01 * exact


def test_one_scale_for_entries_of_many_is_found():
    scales = 2 * torch.tensor([0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.03, 0.03]).log()
    run = made_by("gaussian", torch.cat([torch.zeros(E), scales]))
    pooled = float(scales.exp().mean().sqrt())
    run.model.likelihood.function = between(Isotropic(1, pooled, learned=False), *apart(filled(0), -20, 20))
    finding = only(examined(run), "doubtful", "wrong scale for some entries")
    assert "entries 6, 7)" in finding.evidence or "entries 7, 6)" in finding.evidence


def test_mass_where_no_gray_value_is():
    run = made_by("continuous bernoulli")
    head = OptimalSigma(1)
    head.variance.fill_(0.1)
    run.model.likelihood.function = between(head, *apart(filled(0.5), 0.03, 0.97))
    only(examined(run), "doubtful", "much of its mass where no gray value is")
