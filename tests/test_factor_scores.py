"""The four scores are what their definitions say: by hand, on perfect, mixed and empty encodings, in whatever units."""

from dataclasses import replace
from math import log

import pytest
import torch

from unveil.errors import DataError, SettingError
from unveil.evaluation.latent.factor_scores import (
    Known,
    concentration,
    dci,
    entropy,
    factor_vae,
    gap,
    information,
    mig,
    sap,
)

VALUES = (3, 4, 6, 10)
ORDERED = (False, True, True, True)
SCORES = (mig, sap, dci, factor_vae)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def known(n, seed, encode):
    """n examples of independent factors, and what `encode` makes of them, standardised, and a seed."""
    source = torch.Generator().manual_seed(seed)
    factors = torch.stack([torch.randint(0, count, (n,), generator=source) for count in VALUES], 1)
    counts = torch.tensor(VALUES, dtype=torch.float64)
    standard = (factors - (counts - 1) / 2) / ((counts**2 - 1) / 12).sqrt()
    return Known(encode(standard, seed), factors, ORDERED)


def sides(encode, n=600):
    return known(n, 1, encode), known(n, 2, encode)


def perfect(v, seed):
    """Each factor in a dimension of its own, out of order and in other units, beside two of noise."""
    own = v[:, [2, 0, 3, 1]] * torch.tensor([0.01, -3.0, 50.0, 1.0]) + torch.tensor([0.0, 7.0, -100.0, 0.0])
    return torch.cat([own, normal(len(v), 2, seed=seed + 10)], 1)


def mixed(v, seed):
    """The same factors, each seen by every dimension."""
    signs = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64) / 2
    return v @ signs


def noise(v, seed):
    return normal(len(v), 5, seed=seed + 20)


def every(encode, scores=SCORES, seed=0, n=600):
    """The mean of each number that the scores give."""
    train, test = sides(encode, n)
    return {name: float(parts.mean()) for score in scores for name, parts in score(train, test, seed).items()}


def test_a_perfect_encoding_scores_one():
    found = every(perfect)
    assert set(found) == {"mig", "sap", "disentanglement", "completeness", "informativeness", "factor_vae"}
    assert min(found.values()) > 0.95
    assert max(found.values()) < 1 + 1e-9


def test_a_mixed_encoding_is_informative_and_no_more():
    found = every(mixed, (mig, sap, dci), n=1_500)
    assert found["informativeness"] > 0.75
    assert max(found[name] for name in ("mig", "sap", "disentanglement", "completeness")) < 0.2


def test_an_encoding_that_knows_nothing_scores_nothing():
    found = every(noise)
    assert max(found[name] for name in ("mig", "sap", "disentanglement", "completeness", "informativeness")) < 0.05
    assert abs(found["factor_vae"] - 1 / 4) < 0.1


def test_mutual_information_is_that_of_a_table_made_by_hand():
    # z in the first and the last cell, v in two classes: 3 and 1 examples of one, 1 and 3 of the other
    z = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1], dtype=torch.float64)
    v = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    shared, own = information(Known(torch.stack([z, -5 * z, v + 2.0], 1), torch.stack([v, z.long()], 1), (False, False)))
    # plain: log 2 - H(1/4) = 0.1308; the correction adds 1/16 twice for the margins, takes 3/16 for the four cells
    between = 0.75 * log(0.75) + 0.25 * log(0.25) + log(2) - 1 / 16
    half = log(2) + 1 / 16
    exact = [[between, half], [between, half], [half, between]]
    assert torch.allclose(shared, torch.tensor(exact, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(own, torch.full((2,), half, dtype=torch.float64), atol=1e-12)


def test_cells_are_twenty_of_equal_width_between_the_extremes():
    z = torch.cat([torch.linspace(0, 1, 41, dtype=torch.float64)[:-1] + 0.0125, torch.tensor([0.0, 1.0])])
    v = (torch.arange(42) // 2).clamp(max=19)
    v[-2:] = torch.tensor([0, 19])
    shared, own = information(Known(torch.stack([z, z**9], 1), torch.stack([v, v], 1), (True, True)))
    assert torch.allclose(shared[0], own)
    assert (shared[1] < 0.6 * own).all()


def test_the_information_between_independent_variables_is_zero_in_the_mean():
    n, found = 200, []
    for seed in range(400):
        source = torch.Generator().manual_seed(seed)
        z, v = (torch.randint(0, count, (n,), generator=source) for count in (3, 4))
        found.append(
            information(Known(torch.stack([z.double(), z.double()], 1), torch.stack([v, v], 1), (True,) * 2))[0][0, 0]
        )
    values = torch.stack(found)
    # as counted it would be (3 - 1) (4 - 1) / 2 n = 0.015, 35 standard errors above
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5
    assert values.std() / len(values) ** 0.5 < 0.0005


def test_entropy_of_one_value_is_zero():
    assert entropy(torch.tensor([[7.0, 0.0, 0.0]]), (1,)).tolist() == [0.0]


def test_the_gap_is_between_the_two_best_dimensions():
    assert gap(torch.tensor([[0.2, 0.0], [0.9, 0.4], [0.5, 0.4]])).tolist() == pytest.approx([0.4, 0.0])


def test_importance_is_weighed_by_its_mass_and_entropies_have_the_base_of_what_they_range_over():
    shares = torch.tensor([[1.0, 0.5], [0.0, 0.5], [0.0, 0.0]], dtype=torch.float64)
    # dimension 0 has three quarters of the mass, 2/3 and 1/3 of it for each factor; dimension 1 is of one factor alone
    spread = -(2 / 3 * log(2 / 3) + 1 / 3 * log(1 / 3)) / log(2)
    disentangled, complete = concentration(shares)
    assert disentangled.tolist() == pytest.approx([0.75 * (1 - spread) + 0.25])
    assert complete.tolist() == pytest.approx([1.0, 1 - log(2) / log(3)])
    even = concentration(torch.full((3, 2), 1 / 3, dtype=torch.float64))
    assert torch.cat(even).abs().max() < 1e-12
    assert torch.cat(concentration(torch.zeros(3, 2, dtype=torch.float64))).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("encode", [perfect, mixed])
def test_dimensions_may_change_places_units_and_sign(encode):
    train, test = sides(encode)
    order = torch.arange(train.means.shape[1]).roll(2)
    units = torch.tensor([3.0, 0.001, 40.0, 1.0, 5.0, 0.2], dtype=torch.float64)[: len(order)]
    moved = [replace(side, means=side.means[:, order] * units + units.flip(0)) for side in (train, test)]
    for score in SCORES:
        before, after = score(train, test, 0), score(*moved, 0)
        for name in before:  # a forest breaks its ties by the places of the dimensions
            assert torch.allclose(before[name], after[name], atol=0.05 if score is dci else 1e-6), name
    turned = [replace(side, means=-side.means) for side in (train, test)]
    for score in (mig, sap, factor_vae):
        for name, parts in score(train, test, 0).items():
            assert float(score(*turned, 0)[name].mean()) == pytest.approx(float(parts.mean()), abs=0.02)


def test_a_second_dimension_for_a_factor_costs_the_gaps_and_completeness_and_no_disentanglement():
    def twice(v, seed):
        return torch.cat([perfect(v, seed), 4 * v[:, 3:] - 1], 1)

    train, test = sides(twice)
    assert mig(train, test)["mig"].tolist() == pytest.approx([0.97, 0.97, 0.97, 0.0], abs=0.04)
    assert sap(train, test)["sap"].tolist() == pytest.approx([0.97, 0.97, 0.97, 0.0], abs=0.04)
    found = dci(train, test)
    assert float(found["disentanglement"]) > 0.98
    assert found["completeness"][:3].min() > 0.98
    assert found["completeness"][3] < 0.75  # about 1 - log 2 / log 7 = 0.64
    assert float(factor_vae(train, test)["factor_vae"].mean()) > 0.98


def test_a_constant_dimension_tells_nothing_and_is_no_dimension_that_varies_least():
    def dead(v, seed):
        return torch.cat([torch.full((len(v), 2), 3.0), perfect(v, seed)], 1)

    with_it, without = every(dead), every(perfect)
    assert with_it == pytest.approx(without, abs=0.02)
    train, test = sides(lambda v, seed: torch.zeros(len(v), 3, dtype=torch.float64))
    empty = {name: float(parts.mean()) for score in SCORES for name, parts in score(train, test, 0).items()}
    assert empty.pop("factor_vae") == 1 / 4
    assert set(empty.values()) == {0.0}


def test_variances_are_shares_of_those_over_all_examples():
    # a dimension of tiny units would always vary least if they were not
    units = torch.tensor([1e-4, 1.0, 10.0, 1e4])
    plain = sides(lambda v, seed: mixed(v, seed) + 2 * v + 0.3 * normal(*v.shape, seed=seed))
    moved = [replace(side, means=side.means * units) for side in plain]
    assert torch.equal(factor_vae(*plain)["factor_vae"], factor_vae(*moved)["factor_vae"])
    assert float(factor_vae(*plain)["factor_vae"].mean()) > 0.9


def test_what_is_fitted_is_scored_on_other_examples():
    train, test = sides(perfect)
    reversed_ = replace(test, means=-test.means + 2 * train.means.mean(0))
    turned = sap(train, reversed_)["sap"]
    assert turned[1:].max() < 0.05  # the lines run the wrong way
    assert dci(train, reversed_)["informativeness"][1:].max() < 0.05
    noisy = sides(noise, n=60)  # trees and lines find patterns in as few
    assert float(sap(*noisy)["sap"].mean()) < 0.15
    assert float(dci(*noisy)["informativeness"].mean()) < 0.1


def test_a_class_of_its_own_middle_is_told_apart_by_thresholds():
    # three classes in an order that no single threshold or line separates
    def folded(v, seed):
        return torch.cat([perfect(v, seed)[:, :1], (v[:, :1].abs() > 0.1).double() + 0.1 * v[:, :1]], 1)

    train, test = sides(folded)
    assert sap(train, test)["sap"][0] > 0.9


def test_examples_too_few_are_refused():
    names = ("a", "b", "c", "d")
    with pytest.raises(DataError, match=r"45 examples are too few for the factor 'd' with 10 values"):
        known(45, 0, perfect).check(names)
    one = known(100, 0, perfect)
    rare = one.factors.clone()
    rare[:, 1] = (torch.arange(100) < 19).long()
    with pytest.raises(DataError, match=r"the factor 'b' with 2 values, the commonest of them 81 times"):
        replace(one, factors=rare).check(names)
    one.check(names)
    with pytest.raises(SettingError, match="1 dimension and 4 factors"):
        replace(one, means=one.means[:, :1])
    with pytest.raises(SettingError, match="not finite"):
        replace(one, means=one.means.log())
    with pytest.raises(DataError, match="50 rows of 4 factors"):
        replace(one, factors=one.factors[:50])
