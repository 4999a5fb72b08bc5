"""Maps of the distortion: they sum to it, and their excess has mean zero where x come from the model."""

import pytest
import torch
from helpers.scores import Constant, binary, linear, pixels, real
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from unveil.data import Batch, LinearGaussian, from_arrays
from unveil.distributions import IndependentBernoulli
from unveil.errors import SettingError
from unveil.evaluation import in_evaluation
from unveil.evaluation.anomaly.surprise import entropies, log_probs, surprise
from unveil.evaluation.likelihood import drawing
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.parts import (
    Bernoulli,
    Columns,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    Isotropic,
    Laplace,
    Levels,
    LogisticMixture,
    Net,
    Poisson,
    Standard,
    StudentT,
)
from unveil.randomness import reseed

D = 5
UNIT = torch.rand(40, D, generator=torch.Generator().manual_seed(1))
COUNTS = (16 * UNIT).round()
KINDS = ("positive", "real", "categorical:3", "real", "positive")
TABLE = torch.stack([UNIT[:, 0] + 0.1, UNIT[:, 1], (2 * UNIT[:, 2]).round(), UNIT[:, 3], UNIT[:, 4] + 0.1], 1)
HEADS = [
    (Bernoulli(1), UNIT.round(), True),
    (Gaussian(D), UNIT, True),
    (Isotropic(), UNIT, True),
    (Laplace(), UNIT, True),
    (StudentT(), UNIT, True),
    (ContinuousBernoulli(1), UNIT, True),
    (Levels(17, 1), COUNTS, True),
    (Columns(KINDS), TABLE, True),
    (DiscretisedLogistic(17, 1), COUNTS, False),
    (LogisticMixture(2, 17, 1), COUNTS, False),
    (Poisson(), COUNTS, False),
]
NAMES = [type(head).__name__ for head, _, _ in HEADS]


def model_of(head):
    torch.manual_seed(0)
    return VAE(Standard(2), Net(Mlp((D,), (8,), (4,)), Gaussian(2)), Net(Mlp((2,), (8,), head.needs((D,))), head))


@pytest.mark.parametrize(("head", "x", "closed"), HEADS, ids=NAMES)
def test_a_map_sums_to_the_distortion_of_the_same_draws(head, x, closed):
    model, split = model_of(head), real(x)
    found = surprise(model, split, samples=3, seed=5)
    with in_evaluation(model), torch.no_grad():
        reseed(5, "surprise", 0, 0)
        exact = model.draw(Batch(x, torch.arange(40), 40), 3).distortion
    assert found.cost.shape == x.shape
    assert torch.allclose(found.distortion.float(), exact, rtol=2e-6, atol=1e-5)
    assert found.expected.shape == x.shape


@pytest.mark.parametrize("head", [DiscretisedLogistic(17, 1), LogisticMixture(2, 17, 1), Poisson(), Levels(17, 1)])
def test_what_the_model_makes_costs_what_it_expects_at_every_entry(head):
    model = model_of(head)
    with torch.no_grad():
        x = model.decode(torch.zeros(1, 2)).sample((400,))[:, 0]
    model.posterior = Net(Constant(torch.cat([torch.zeros(2), torch.full((2,), -20.0)])), Gaussian(2))
    excess = surprise(model, real(x), samples=4).excess.double()
    assert (excess.mean(0).abs() < 5 * excess.std(0) / 400**0.5).all()
    assert (excess.flatten() < 0).double().mean() > 0.2  # a map is not red all over


def test_chunks_are_weighed_by_how_many_draws_they_hold(monkeypatch):
    truth = LinearGaussian.draw(D, 2)
    monkeypatch.setattr(drawing, "ROWS", 4)  # 10 draws in chunks of 4, 3 and 3
    model, x = linear(truth), truth.sample(3)
    found = surprise(model, real(x), samples=10)
    parts = []
    with in_evaluation(model), torch.no_grad():
        for place in range(3):
            costs = []
            for chunk, count in enumerate((4, 3, 3)):
                reseed(0, "surprise", place, chunk)
                costs.append(-model.draw(Batch(x[place : place + 1], torch.tensor([place]), 3), count).log_px)
            parts.append(torch.cat(costs).mean())
    assert torch.allclose(found.distortion.float(), torch.stack(parts), rtol=1e-5)
    assert torch.allclose(found.expected.sum(1), model.draw(Batch(x, torch.arange(3), 3)).output.entropy()[0])


@pytest.mark.parametrize(("head", "x", "closed"), HEADS, ids=NAMES)
def test_the_entropy_is_the_expected_cost_of_each_entry(head, x, closed):
    torch.manual_seed(0)
    output = head(0.8 * torch.randn(1, *head.needs((D,))))
    drawn = output.sample((20_000,))
    costs = -log_probs(output, drawn)
    assert costs.shape == (20_000, 1, D)
    assert torch.allclose(-costs.sum(-1), output.log_prob(drawn), rtol=1e-5, atol=1e-4)
    expected = entropies(output)
    if not closed:
        assert expected is None
        return
    assert expected.shape == (1, D)
    error = costs.double().std(0) / 20_000**0.5
    assert ((costs.double().mean(0) - expected).abs() < 4.5 * error + 1e-5).all()


def test_the_entropy_of_a_pixel_is_exact_at_its_ends():
    output = IndependentBernoulli(torch.tensor([[0.0, -200.0, 200.0, 1.0]]))
    p = torch.sigmoid(torch.tensor(1.0))
    exact = torch.stack(
        [torch.tensor(2.0).log(), torch.tensor(0.0), torch.tensor(0.0), -(p * p.log() + (1 - p) * (1 - p).log())]
    )
    assert torch.allclose(output.entropies(), exact[None])
    assert torch.equal(output.log_probs(torch.tensor([[1.0, 0.0, 1.0, 0.0]]))[0, 1:3], torch.zeros(2))


def test_what_the_model_makes_does_not_surprise_it_and_a_flipped_pixel_does():
    logits = torch.linspace(-3, 3, 30).view(1, 6, 5)
    model = pixels(logits)
    probability = torch.sigmoid(logits)
    x = (torch.rand(400, 1, 6, 5, generator=torch.Generator().manual_seed(0)) < probability).float()
    usual = surprise(model, binary(x), samples=1)
    total = usual.excess.double().sum((1, 2, 3))
    assert abs(total.mean()) < 4 * total.std() / 400**0.5
    assert usual.advice() == []
    assert len(usual.table()) == 2
    flipped = x.clone()
    flipped[:, 0, 0, 0] = 1  # of probability 0.05
    found = surprise(model, binary(flipped), samples=1)
    assert (found.excess[:, 0].flatten(1).mean(0).argmax() == 0).all()
    assert torch.allclose(found.excess[:, 0, 0, 0], 3.0 * (1 - probability[0, 0, 0]).expand(400), atol=1e-5)
    assert "more than p(x|z) expects" in found.advice()[0]


def test_dark_pixels_that_are_always_dark_are_no_surprise():
    logits = torch.full((1, 4, 4), -8.0)
    logits[0, 0, 0] = 0.0
    found = surprise(pixels(logits), binary(torch.zeros(2, 1, 4, 4)), samples=1)
    assert found.cost[0, 0, 0, 0].item() == pytest.approx(0.693, abs=1e-3)  # by cost the unsure pixel stands out
    assert found.excess.abs().max() < 0.01


def test_entries_that_depend_on_each_other_have_no_map():
    full = MultivariateNormal(torch.zeros(3), torch.eye(3))
    with pytest.raises(SettingError, match="depend on each other"):
        log_probs(full, torch.zeros(3))
    assert entropies(full) is None
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(torch.zeros(2, 3), 1.0), 1))
    with pytest.raises(SettingError, match="depend on each other"):
        log_probs(mixture, torch.zeros(3))


def test_a_map_of_no_draws_is_refused():
    with pytest.raises(SettingError, match="at least 1"):
        surprise(model_of(Poisson()), real(COUNTS), samples=0)


def test_data_from_arrays_are_read_as_the_scores_read_them():
    data = from_arrays(torch.randint(0, 256, (60, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8))
    model = pixels(torch.zeros(1, 4, 4))
    model.likelihood.network.numbers.data.fill_(2.0)
    found = surprise(model, data.test, samples=1, seed=3)
    x = data.test.fixed(3)
    assert torch.allclose(found.cost, torch.nn.functional.softplus(torch.tensor(2.0)) - 2 * x, atol=1e-6)
