"""Scores of a model stand beside their floor, with errors that hold, and say what to do."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch.distributions import Independent, Normal

from unveil.data import from_arrays
from unveil.errors import DataError, SettingError
from unveil.evaluation.figure import Figure
from unveil.evaluation.latent.disentanglement import Rated, disentanglement, rated
from unveil.evaluation.latent.factor_scores import Known, dci, factor_vae, mig, sap
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.part import Part
from unveil.parts import Isotropic, Net, Standard

NAMES = ("kind", "colour", "size", "place")
PERMUTED = [2, 0, 3]


class Encoder(Part):
    """q(z|x) = N(x W, S^2) with S for each dimension."""

    def __init__(self, weight, scale):
        super().__init__()
        self.weight, self.scale = weight, scale

    def forward(self, given=None, context=None, leading=1):
        return Independent(Normal(given @ self.weight, self.scale.expand(len(given), -1)), 1)


def model_of(weight, scale=0.1):
    width = weight.shape[1]
    scales = torch.as_tensor(scale, dtype=torch.float32).expand(width)
    return VAE(Standard(width), Encoder(weight, scales), Net(Mlp((width,), (4,), (4,)), Isotropic()))


@pytest.fixture(scope="module")
def made():
    """1,200 vectors that are their factors, of which the colour is always the same."""
    source = torch.Generator().manual_seed(0)
    columns = [torch.randint(0, count, (1_200,), generator=source) for count in (3, 1, 4, 6)]
    factors = torch.stack(columns, 1)
    return from_arrays(factors.float(), name="made", factors=factors, factor_names=NAMES, ordered=("size", "place"))


@pytest.fixture(scope="module")
def weight():
    """Factor to dimension, and two more: one of noise-like sums, and one so faint that no draw of z tells of it."""
    weight = torch.zeros(4, 4)
    for dimension, factor in enumerate(PERMUTED):
        weight[factor, dimension] = (-1) ** dimension * 2.0
    weight[3, 3] = 1e-3
    return weight


@pytest.fixture(scope="module")
def found(made, weight):
    return disentanglement(model_of(weight, [0.1, 0.1, 0.1, 1.0]), made, fitted=500)


def test_a_model_that_holds_each_factor_by_itself_scores_one_and_hears_nothing(found):
    assert (found.factors, found.ordered) == (("kind", "size", "place"), ("size", "place"))
    assert (found.data, found.split, found.n, found.fitted) == ("made", "test", 120, 500)
    assert found.alive == (0, 1, 2)  # the faint one would be the second to tell of the place
    assert [PERMUTED[dimension] for dimension in found.best] == [0, 2, 3]
    for one in (found.mig, found.sap, found.disentanglement, found.completeness, found.informativeness, found.factor_vae):
        assert one.score.value > 0.9
        assert one.score.n == 120
        assert one.floor.value < 0.5
        assert one.ahead > 3
    assert found.advice() == []


def test_the_record_is_plain_data_and_every_line_has_its_error(found):
    assert json.loads(json.dumps(asdict(found)))["mig"]["score"]["n"] == 120
    table = found.table()
    assert all("±" in text and "knows nothing" in text for _, text in table[:6])
    assert [name for name, _ in table[6:]] == ["factor kind", "factor size", "factor place", "scored on"]
    assert "120 examples of test, fitted to 500 of train; 3 of 4 dimensions alive" in table[-1][1]


def test_the_same_seed_gives_the_same_record_and_leaves_the_callers_random_state(made, weight):
    model = model_of(weight)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    once = disentanglement(model, made, "validation", fitted=200)
    assert torch.equal(torch.rand(1), expected)
    assert once == disentanglement(model, made, "validation", fitted=200)
    sides = noisy(100, 0), noisy(100, 1)
    assert rated(mig, *sides, 1, 2, 2)["mig"] != rated(mig, *sides, 2, 2, 2)["mig"]


def test_a_mixed_model_is_told_so(made):
    weight = torch.zeros(4, 3)
    weight[[0, 2, 3]] = torch.tensor([[0.6, 0.6, 0.6], [0.5, -0.5, 0.1], [0.2, 0.2, -0.4]])
    found = disentanglement(model_of(weight), made, fitted=1_000)
    assert found.informativeness.score.value > 0.6
    assert any("mixed" in line for line in found.advice())


def test_a_model_that_knows_nothing_is_told_so(made):
    found = disentanglement(model_of(torch.zeros(4, 3)), made, fitted=200)
    assert found.alive == ()
    said = found.advice()
    assert "kind, size, place" in said[0]
    assert "cannot be told from an encoding that knows nothing" in said[1]
    assert len(said) == 2


def test_factors_spread_over_dimensions_are_told_of(found):
    def at(value):
        return Rated(Figure(value, 0.01, 120, "of 1"), Figure(0.1, 0.01, 2, "of 1"))

    spread = replace(found, completeness=at(0.5), disentanglement=at(0.9))
    assert spread.advice() == [
        "dimensions hold one factor each, but factors are spread over several: take fewer dimensions"
    ]


def noisy(n, seed):
    """Factors in their own dimensions, a little mixed and blurred."""
    source = torch.Generator().manual_seed(seed)
    factors = torch.stack([torch.randint(0, count, (n,), generator=source) for count in (3, 5)], 1)
    clean = factors - factors.double().mean(0)
    blur = torch.randn(n, 3, generator=source, dtype=torch.float64)
    means = torch.stack([clean[:, 0] + 0.3 * clean[:, 1], clean[:, 1], clean[:, 1] - clean[:, 0]], 1)
    return Known(means + 0.7 * blur, factors, (False, True))


@pytest.mark.parametrize(("score", "repeats", "datasets"), [(mig, 60, 60), (sap, 15, 25), (factor_vae, 20, 30)])
def test_the_standard_error_is_that_of_other_examples(score, repeats, datasets):
    values, errors = [], []
    for seed in range(datasets):
        one = rated(score, noisy(300, 2 * seed), noisy(300, 2 * seed + 1), seed, repeats, 2)[score.__name__]
        values.append(one.score.value)
        errors.append(one.score.stderr)
    spread, stated = torch.tensor(values).std(), torch.tensor(errors).mean()
    # a standard deviation of as many values is known to about 1 / sqrt(2 n): 9 to 14 percent
    assert 0.65 < stated / spread < 1.6


def test_the_floor_is_what_examples_given_others_factors_score():
    train, test = noisy(400, 0), noisy(400, 1)
    for score in (mig, sap, dci, factor_vae):
        for name, one in rated(score, train, test, 0, 2, 4).items():
            assert one.floor.n == 4
            chance = 0.5 if name == "factor_vae" else 0.0
            assert abs(one.floor.value - chance) < 0.12, name
            assert one.score.value > one.floor.value


def test_what_has_no_disentanglement_is_refused(made, weight, tiny):
    with pytest.raises(DataError, match=r"tiny were made from are not known; take data that bring them, such as 'shapes'"):
        disentanglement(model_of(weight), tiny)
    with pytest.raises(SettingError, match="1 dimension and 3 factors"):
        disentanglement(model_of(weight[:, :1]), made)
    with pytest.raises(DataError, match="no split 'tset'"):
        disentanglement(model_of(weight), made, "tset")
    with pytest.raises(DataError, match="20 examples are too few for the factor 'kind'"):
        disentanglement(model_of(weight), made, scored=20)
    alone = replace(
        made, **{name: replace(made.split(name), factors=made.split(name).factors[:, 1:3]) for name in made.splits}
    )
    with pytest.raises(DataError, match="2 factors and 4 names"):
        disentanglement(model_of(weight), alone)
    with pytest.raises(SettingError, match="4 dimensions and 1 factor have"):
        disentanglement(model_of(weight), replace(alone, factors=NAMES[1:3]))
