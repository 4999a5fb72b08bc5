"""What a step is made of: Adam that is guarded, weights in one piece, their average, figures, the learning rate."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unveil.training.average import Average
from unveil.training.config import Training
from unveil.training.flat import Flat
from unveil.training.guard import GuardedAdam
from unveil.training.schedules import learning_rate
from unveil.training.tally import Tally


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))


def test_the_guarded_optimiser_is_adam_with_clipping():
    mine, theirs = network(), network()
    flat = Flat(mine)
    guarded = GuardedAdam(flat, clip=0.05)
    adam = torch.optim.Adam(theirs.parameters(), betas=(0.9, 0.99), foreach=False)
    for step in range(30):
        x = torch.randn(16, 5)
        rate = 1e-2 / (1 + step)
        loss = mine(x).square().mean()
        loss.backward()
        assert guarded.step(loss, torch.tensor(rate))
        theirs(x).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        adam.zero_grad()
    flat.release()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-6)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_poisoned_step_did_not_happen(poison):
    model = network()
    flat = Flat(model)
    guarded = GuardedAdam(flat, clip=1.0)
    for x in (torch.ones(4, 5), torch.full((4, 5), poison), torch.ones(4, 5)):
        before = {name: tensor.clone() for name, tensor in guarded.tensors().items()} | {"values": flat.values.clone()}
        loss = model(x).square().mean() * x.mean()
        loss.backward()
        finite = guarded.step(loss, torch.tensor(1e-2))
        after = {**guarded.tensors(), "values": flat.values}
        same = {name: torch.equal(after[name], before[name]) for name in before}
        assert bool(finite) == bool(torch.isfinite(x).all())
        assert all(same.values()) if not finite else not any(same.values())


def test_layers_read_a_shadow_in_low_precision_and_get_full_weights_back():
    model = network()
    model.register_parameter("free", nn.Parameter(torch.randn(3)))
    exact = [parameter.detach().clone() for parameter in model.parameters()]
    flat = Flat(model, torch.bfloat16)
    assert model[0].weight.dtype == torch.bfloat16
    assert model.free.dtype == torch.float32
    flat.values.mul_(2)
    flat.publish()
    first = [parameter.shape for parameter in model.parameters()].index(model[0].weight.shape)
    assert torch.equal(model[0].weight, (2 * exact[first]).bfloat16())
    with flat.using(torch.zeros_like(flat.values)):
        assert model[2].bias.dtype == torch.float32
        assert not any(parameter.any() for parameter in model.parameters())
    flat.release()
    assert all(torch.equal(now, 2 * then) for now, then in zip(model.parameters(), exact, strict=True))


def test_the_average_is_the_one_it_states():
    flat = Flat(network())
    average = Average(flat, 0.5)
    by_hand = flat.values.clone()
    for step in range(40):
        flat.values.add_(1.0)
        average.update(torch.tensor(average.follow(step)))
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * flat.values
    assert torch.allclose(average.values, by_hand, rtol=1e-5)


def test_the_tally_means_only_finite_steps():
    tally = Tally(("a",), 3, torch.device("cpu"))
    for place, (value, finite) in enumerate([(1.0, True), (float("nan"), False), (3.0, True)]):
        tally.add({"a": torch.tensor(value)}, torch.tensor(finite), torch.tensor([place]))
    assert tally.read() == ({"a": 2.0}, [1])


def test_schedules_rise_and_fall():
    config = Training(learning_rate=1.0, warmup=0.2, schedule="one-cycle")
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(1 / 80)
    assert learning_rate(replace(config, schedule="cosine"), 60, 100) == pytest.approx(0.5)
    assert learning_rate(replace(config, schedule="constant"), 99, 100) == 1.0
