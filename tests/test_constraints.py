"""Schedules and constraints: what a term weighs at which time, and the multiplier that holds another to its level."""

from dataclasses import replace
from math import exp, inf, log

import pytest
import torch
from helpers.objectives import T, rough, value
from torch import nn

from unveil.data import LinearGaussian
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.objectives import Capacity, Distortion, FreeBits, Geco, Rate, StructuralSimilarity, Term, Warmup
from unveil.parts import Gaussian, Isotropic, Net, Point, Standard
from unveil.training import Training
from unveil.training.loop import Trainer

END = torch.tensor(inf)


class Level(Term):
    """A loss that is known: its weight for every example, or one each."""

    def __init__(self, *levels):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(levels))

    def forward(self, draw, model, t):
        return self.level.expand(len(draw.batch.x))


def test_a_warm_up_in_cycles_begins_anew_and_is_over_at_the_end_of_time():
    model, draw = rough()
    term = Warmup(Level(3.0), 2.0, 4.0)
    weights = [
        float(value(term, draw, model, torch.tensor(t))[0].detach()) / 3 for t in (0.0, 1.0, 2.0, 3.9, 4.0, 5.0, 7.0, inf)
    ]
    assert weights == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 1])


@pytest.mark.parametrize(("t", "aim"), [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0), (9.0, 4.0), (inf, 4.0)])
def test_a_capacity_pulls_the_mean_rate_to_a_level_that_rises(t, aim):
    model, draw = rough(n=3)
    level = Level(1.0, 2.0, 6.0)  # their mean is 3
    loss = Capacity(level, 4.0, 2.0, 10.0)(draw, model, torch.tensor(t))
    assert loss.tolist() == pytest.approx([10 * abs(3 - aim)] * 3)
    (pull,) = torch.autograd.grad(loss.mean(), level.level)
    # every example is pulled the same way, even the one that is on the other side of the aim
    assert pull.tolist() == pytest.approx([10 / 3 * (1 if aim < 3 else -1)] * 3)


def test_a_capacity_that_takes_no_time_is_there_from_the_start():
    model, draw = rough(n=3)
    assert Capacity(Level(4.0), 4.0, 0.0)(draw, model, T).tolist() == [0.0] * 3


def layered(*rates):
    """A draw with a layer of z for each of `rates`, (1, B) nats."""
    _, draw = rough(n=2)
    kls = tuple(torch.tensor([rate], requires_grad=True) for rate in rates)
    return kls, replace(draw, z=tuple(torch.zeros(1, 2, 1) for _ in rates), divergences=lambda: kls)


def test_free_bits_stop_paying_below_the_floor_layer_by_layer():
    (above, below), draw = layered([1.0, 5.0], [0.1, 3.0])  # means 3 and 1.55: the second has an example above the floor
    loss = FreeBits(2.0)(draw, None, T)
    assert loss.tolist() == [5.0, 5.0]
    loss.mean().backward()
    assert above.grad.tolist() == [[0.5, 0.5]]
    assert below.grad.tolist() == [[0.0, 0.0]]


def test_without_a_floor_free_bits_are_the_rate():
    _, draw = layered([1.0, 5.0], [0.1, 3.0])
    assert FreeBits(0.0)(draw, None, T).mean() == draw.rate.mean()


def distorted(nats):
    model, draw = rough(n=2)
    return model, replace(draw, log_px=-torch.tensor([nats]))


def test_the_multiplier_rises_while_the_constraint_is_violated_and_only_by_an_update():
    term = Geco(Level(7.0), 10.0, memory=0.5)
    model, bad = distorted([12.0, 30.0])
    _, good = distorted([1.0, 2.0])
    assert term(bad, model, T).tolist() == [7.0 + 2.0, 7.0 + 20.0]  # the multiplier begins at 1
    assert term.log_multiplier == term.excess == 0
    path = []
    for draw in (bad, bad, bad, good, good, good, good, good, good):
        term.update(draw)
        path.append(float(term.log_multiplier))
    assert path[0] > 0
    assert path[:3] == sorted(path[:3])
    assert path[-1] < path[-2] < path[-3]
    price = exp(path[-1])
    assert term(bad, model, T).tolist() == pytest.approx([7.0 + 2 * price, 7.0 + 20 * price])


def test_the_multiplier_stays_positive_and_finite_whatever_comes():
    for nats, most in (([1e30, 1e30], 100.0), ([-1e30, -1e30], 0.01)):
        _, draw = distorted(nats)
        term = Geco(Level(0.0), 10.0)
        for _ in range(2_000):
            term.update(draw)
        assert float(term.log_multiplier.exp()) == pytest.approx(most, rel=1e-4)


def test_at_the_end_of_time_slack_is_worth_nothing_and_excess_at_least_its_nats():
    model, bad = distorted([9.0, 13.0])
    _, good = distorted([8.0, 11.0])
    for multiplier in (0.1, 30.0):
        term = Geco(Level(7.0), 10.0)
        term.log_multiplier.fill_(log(multiplier))
        assert float(term(bad, model, END).detach().mean()) == pytest.approx(7.0 + max(1.0, multiplier))
        assert term(good, model, END).tolist() == [7.0, 7.0]


def test_the_loop_moves_the_multiplier_until_the_constraint_is_met():
    data = LinearGaussian.draw(8, 2).dataset(2_000)

    def trained(objective, epochs):
        torch.manual_seed(0)
        likelihood = Net(nn.Linear(2, 8), Isotropic(scale=0.5, learned=False))
        model = VAE(Standard(2), Net(nn.Linear(8, 4), Gaussian(2)), likelihood)
        config = Training(epochs=epochs, batch_size=100, learning_rate=1e-2, validate_every=0, schedule="constant")
        trainer = Trainer(model, objective, data, config, "float32")
        for _ in range(trainer.total):
            trainer.advance()
        with torch.no_grad():
            draw = model.draw(next(data.train.batches(len(data.train), 0)), 20)
        assert isinstance(objective, Geco) == ("buffers/objective.log_multiplier" in trainer.state.tensors())
        return float(draw.distortion.mean()), float(draw.rate.mean())

    free, cheap = trained(Distortion() + Rate(), 25)
    for tolerance in (free - 0.4, free + 1.0):
        term = Geco(Rate(), tolerance, speed=0.03)
        held, rate = trained(term, 60)
        assert held == pytest.approx(tolerance, abs=0.1)
        assert (rate > cheap) == (term.log_multiplier > 0) == (tolerance < free)


def test_settings_that_cannot_be_say_so():
    wrong = [
        lambda: FreeBits(-1.0),
        lambda: Capacity(Rate(), -1.0, 2.0),
        lambda: Capacity(Rate(), 1.0, inf),
        lambda: Capacity(Rate(), 1.0, 1.0, 0.0),
        lambda: Geco(Rate(), inf),
        lambda: Geco(Rate(), 1.0, speed=0.0),
        lambda: Geco(Rate(), 1.0, memory=1.0),
        lambda: Geco(Rate(), 1.0, dearest=1.0),
        lambda: StructuralSimilarity(4),
        lambda: Point(()),
        lambda: Point(3)(torch.zeros(2, 4)),
    ]
    for attempt in wrong:
        with pytest.raises(SettingError):
            attempt()
