"""Hamiltonian moves along a path: densities that stay what they are, and steps that a pilot finds."""

import pytest
import torch
from helpers.annealed import judge_nothing, off_model, repeated, split_of, tempered
from helpers.curved import near
from test_exact import model_of

from unveil.data import LinearGaussian
from unveil.evaluation.likelihood import annealing, moves
from unveil.evaluation.likelihood.annealed import annealed
from unveil.evaluation.likelihood.annealing import schedule
from unveil.evaluation.likelihood.moves import PILOTS, TARGET, Path, from_posterior, from_prior, move, pilot

pytestmark = pytest.mark.usefixtures("seeded")
STARTS = [from_prior, from_posterior]


def walked(start, beta=0.4, size=1.2, chains=20_000):
    """z of many chains that began in f_beta, after three moves under it; with what f_beta is."""
    truth = LinearGaussian.draw(4, 3)
    model = off_model(truth)
    batch, _ = repeated(truth, 1)
    path = start(model, batch)
    density = tempered(path, truth, batch.x[0], beta, model)
    state = path.at(density.sample((chains, 1)).float())
    steps = size * density.stddev.float()[None]
    for _ in range(3):
        state, rate = move(path, state, beta, steps, leapfrogs=3)
    assert 0.2 < rate.mean() < 0.9  # or it would be a test of nothing
    return state.z[:, 0].double(), density


def moments(z, density):
    """Whether mean and covariance are those of the density, but for 4 standard errors."""
    white = torch.linalg.solve_triangular(density.scale_tril, (z - density.mean).T, upper=False).T
    products = white.unsqueeze(1) * white.unsqueeze(2)
    return near(white, 0.0) and near(products.flatten(1), torch.eye(z.shape[1], dtype=torch.float64).flatten())


@pytest.mark.parametrize("start", STARTS)
def test_a_move_leaves_its_density_what_it_is(start):
    assert moments(*walked(start))


@pytest.mark.parametrize("start", STARTS)
def test_a_move_that_is_always_accepted_does_not(start, monkeypatch):
    judge_nothing(monkeypatch)
    assert not moments(*walked(start))


def test_short_steps_are_accepted_since_they_follow_the_gradient():
    truth = LinearGaussian.draw(6, 4)
    path = from_prior(model_of(truth), repeated(truth, 50)[0])
    state = path.draw(8)
    lost = []
    for size in (0.02, 0.01):
        torch.manual_seed(1)
        lost.append(float(1 - move(path, state, 0.5, torch.full((50, 4), size), 10)[1].mean()))
    assert lost[0] < 0.02
    assert lost[1] < lost[0] / 2.5  # the error of a trajectory falls with the square of its step


def test_a_trajectory_that_leaves_the_numbers_is_not_accepted():
    truth = LinearGaussian.draw(6, 4)
    path = from_prior(model_of(truth), repeated(truth, 5)[0])
    state = path.draw(3)
    after, rate = move(path, state, 1.0, torch.full((5, 4), 1e30), 10)
    assert torch.equal(after.z, state.z)
    assert not rate.any()


def test_steps_are_found_by_a_pilot_of_its_own_and_then_frozen(monkeypatch):
    truth = LinearGaussian.draw(8, 2)
    used, found = [], []
    walk, look = moves.move, moves.pilot
    monkeypatch.setattr(annealing, "move", lambda p, s, beta, steps, n: used.append(steps) or walk(p, s, beta, steps, n))
    room = "unveil.evaluation.likelihood.annealed"
    monkeypatch.setattr(f"{room}.pilot", lambda *given: found.append(look(*given)) or found[-1])
    model, split = model_of(truth), split_of(truth.sample(4))
    annealed(model, split, chains=8, temperatures=20, leapfrogs=3)
    annealed(model, split, chains=16, temperatures=20, leapfrogs=3)  # other chains, the same pilot
    first, again = found
    assert torch.equal(first.sizes, again.sizes)
    assert torch.equal(first.scale, again.scale)
    table = [first.steps(place) for place in range(19)]
    assert len(used) == 2 * 19
    assert all(torch.equal(one, other) for one, other in zip(used, 2 * table, strict=True))
    assert first.sizes[0].std() > 0  # each image has its own


def test_a_pilot_brings_acceptance_to_its_target_whatever_the_scale_of_z():
    """The second model is the first with z in other units, one of them a thousand times as narrow."""
    truth = LinearGaussian.draw(12, 6)
    batch, _ = repeated(truth, 20)
    path = from_prior(model_of(truth), batch)
    units = torch.tensor([1e-3, 1.0, 30.0, 1.0, 1.0, 0.1])

    class Stretched(torch.distributions.Distribution):
        batch_shape, event_shape = torch.Size(), torch.Size([6])

        def __init__(self):
            pass

        def sample(self, shape):
            return torch.randn(*shape, 6) * units

        def log_prob(self, z):
            return -0.5 * (z / units).square().sum(-1)

    stretched = Path(Stretched(), lambda z: path.log_ratio(z / units), 20, "stretched")
    betas = schedule(40)
    for each in (path, stretched):
        made = pilot(each, betas[1:-1], leapfrogs=5)
        rates = annealing.forward(each, betas, made, 32).acceptance.mean(1)
        assert ((rates - TARGET).abs() < 0.2).all()
        assert abs(rates.mean() - TARGET) < 0.1
    assert (made.scale / units - 1).abs().max() < 0.1


def test_a_pilot_moves_the_chains_of_its_own_examples_alone():
    truth = LinearGaussian.draw(12, 6)
    seen = []
    path = from_prior(model_of(truth), repeated(truth, 3)[0])
    spied = Path(path.start, lambda z: seen.append(z.shape) or path.log_ratio(z), 3, path.name)
    pilot(spied, schedule(5)[1:-1], leapfrogs=2)
    assert set(seen) == {(PILOTS, 3, 6)}
