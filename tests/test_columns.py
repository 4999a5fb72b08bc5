"""Tables: each column under a likelihood of its own, in the order of the table."""

from math import exp

import numpy as np
import pytest
import torch
from cases.likelihoods import KINDS
from helpers.likelihoods import D
from scipy import stats

from unveil.data import column
from unveil.data.columns import ADMITTED
from unveil.distributions import LevelCategorical, PositiveNormal
from unveil.parts import Columns
from unveil.parts.columns import KINDS as KNOWN_KINDS
from unveil.parts.tabular import moments


def test_columns_are_the_sum_of_their_own_likelihoods_in_the_order_of_the_table():
    torch.manual_seed(0)
    head = Columns(KINDS)
    raw = torch.randn(head.needs((D,)))
    x = torch.tensor([0.3, 4.0, 2.0, 1.7, 1.0, -1.2, 1.0])
    # groups stand in the order of their first column: real (0, 5), count (1), ordinal:5 (2), positive (3), ...
    reals, count, ordinal, positive, categorical, binary = raw.double().split([4, 2, 4, 2, 3, 1])

    def scale(raw):
        return (6 * torch.tanh(raw / 6)).exp()

    def cumulative(loc, gaps):
        cuts = torch.tensor([-torch.inf, 0.0, *gaps.cumsum(0).tolist(), torch.inf]).double()
        return torch.sigmoid(cuts - loc).diff().log()

    mean, shape = (16 * torch.tanh(count[0] / 16)).exp(), (12 * torch.tanh(count[1] / 12)).exp()
    exact = [
        stats.norm.logpdf(x[0], reals[0], scale(reals[2])),
        stats.nbinom.logpmf(4, shape, shape / (shape + mean)),
        cumulative(ordinal[0], (5 * torch.tanh(ordinal[1:] / 5)).exp())[2],
        stats.lognorm.logpdf(x[3], scale(positive[1]), scale=exp(positive[0])),
        categorical.log_softmax(0)[1],
        stats.norm.logpdf(x[5], reals[1], scale(reals[3])),
        torch.sigmoid(binary[0]).log(),
    ]
    made = head(raw)
    assert np.abs(made.log_probs(x).numpy() - np.array(exact, float)).max() < 1e-5
    assert made.log_prob(x).item() == pytest.approx(float(sum(exact)), abs=1e-4)


@pytest.mark.parametrize("size", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("kind", ["ordinal:2", "ordinal:9", "categorical:2", "categorical:9"])
def test_classes_of_a_column_sum_to_one(kind, size):
    torch.manual_seed(0)
    head = Columns((kind,))
    made = head(size * torch.randn(50, *head.needs((1,))))
    total = made.log_prob(torch.arange(float(kind[-1])).view(-1, 1, 1)).double().exp().sum(0)
    assert (total - 1).abs().max() < 1e-5


def test_a_positive_column_is_a_density_of_x_and_not_of_its_logarithm():
    x = torch.linspace(-8, 8, 20_001).double().exp()
    p = PositiveNormal(torch.tensor(0.3).double(), torch.tensor(-0.5).double()).log_prob(x).exp()
    assert torch.trapezoid(p, x).item() == pytest.approx(1, abs=1e-5)


def test_the_mean_of_a_categorical_column_is_its_most_probable_class():
    head = Columns(("real", "categorical:3"))
    made = head(torch.tensor([0.5, 0.0, 2.0, 0.0, 2.1]))
    assert made.mean.tolist() == [0.5, 2.0]
    assert LevelCategorical(torch.tensor([2.0, 0.0, 2.0])).mean.item() == pytest.approx(1.0)


def test_samples_of_a_table_stand_in_their_own_columns():
    torch.manual_seed(0)
    head = Columns(KINDS)
    x = head(torch.zeros(head.needs((D,)))).sample((500,))
    for place, kind in enumerate(KINDS):
        one = column(kind)
        assert ADMITTED[one.kind][0](x[:, place], one.classes).all()
    assert (x[:, 0] < 0).any()


def test_every_kind_of_column_has_a_likelihood():
    assert set(KNOWN_KINDS) == set(ADMITTED)


def test_columns_in_their_own_units_are_densities_of_x_in_those():
    torch.manual_seed(0)
    x = torch.stack([300 + 7 * torch.randn(100), (2 + 3 * torch.randn(100)).exp()], 1)
    head = Columns(["real", "positive"]).fit(x)
    for place, values in enumerate((x[:, 0], x[:, 1].log())):
        assert head.loc[place].item() == pytest.approx(values.double().mean().item(), rel=1e-6)
        assert head.scale[place].item() == pytest.approx(values.double().std(correction=0).item(), rel=1e-6)
    raw, loc, scale = torch.randn(4), head.loc.double(), head.scale.double()
    (a, b), (s, t) = raw[::2].double(), (6 * torch.tanh(raw[1::2].double() / 6)).exp()
    made = head(raw)
    exact = [
        stats.norm.logpdf(x[:, 0], loc[0] + scale[0] * a, scale[0] * s),
        stats.lognorm.logpdf(x[:, 1].double(), scale[1] * t, scale=(loc[1] + scale[1] * b).exp()),
    ]
    assert np.abs(made.log_probs(x).numpy() - np.stack(exact, 1)).max() < 1e-4
    assert np.allclose(made.mean[0], loc[0] + scale[0] * a)
    drawn = made.sample((20_000,))
    for place, values in enumerate((drawn[:, 0], drawn[:, 1].log())):
        mean, spread = loc[place] + scale[place] * (a, b)[place], scale[place] * (s, t)[place]
        assert abs(values.mean() - mean) < 4 * spread / 20_000**0.5
        assert abs(values.std() / spread - 1) < 4 / 40_000**0.5


def test_moments_of_nothing_and_of_equal_numbers_are_harmless():
    assert moments(torch.full((3,), torch.nan)) == (0.0, 1.0)
    assert moments(torch.tensor([0.1, torch.nan, 0.1]))[1] == 1.0
    assert moments(torch.tensor([3e38, -3e38]))[1] == pytest.approx(3e38)
