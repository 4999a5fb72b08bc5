"""The loop: steps that cannot spoil the weights, and runs that go on as if nothing had happened."""

import json
import logging
import re
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

import unveil
from unveil.data import Feed, Split, from_arrays
from unveil.errors import DivergedError, RunError, SettingError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import Distortion, Iwae, Rate, Sum, Warmup
from unveil.parts import Gaussian, Isotropic, Net, Standard
from unveil.recipes import RECIPES
from unveil.training.average import Average
from unveil.training.config import Training
from unveil.training.flat import Flat
from unveil.training.guard import GuardedAdam
from unveil.training.loop import fit
from unveil.training.schedules import learning_rate
from unveil.training.tally import Tally

SMALL = replace(
    RECIPES["vae"].given(latent=2, hidden=(16,), kl_warmup=1.0),
    training=Training(epochs=4, batch_size=40, checkpoint_every=1),
)


class Interrupt:
    """Presses Ctrl-C at one step."""

    def __init__(self, step):
        self.at = step

    def begin(self, steps, done, batch_size, steps_per_epoch, normalised):
        self.steps = steps

    def step(self, step):
        if step == self.at:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, record):
        pass


def contents(path):
    return {name: (path / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    unveil.train(tiny, recipe=SMALL, out=path)
    return path


@pytest.mark.parametrize("step", [1, 6, 9, 13, 23])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_stopped_ends_as_one_that_did_not(step, precision, tiny, tmp_path):
    recipe = replace(SMALL, training=replace(SMALL.training, precision=precision))
    unveil.train(tiny, recipe=recipe, out=tmp_path / "whole")
    stopped = unveil.train(tiny, recipe=recipe, out=tmp_path / "run", monitor=Interrupt(step))
    assert stopped.manifest["status"] == "interrupted"
    assert stopped.manifest["outcome"]["steps"] == step
    assert unveil.open(tmp_path / "run").model.sample(3, seed=0).shape == (3, 1, 6, 5)
    unveil.train(tiny, recipe=recipe, out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    final = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    states = [tmp_path / name / "checkpoints" / str(final) / "state.safetensors" for name in ("run", "whole")]
    assert states[0].read_bytes() == states[1].read_bytes()


def test_resuming_without_a_checkpoint_begins_anew_and_with_other_settings_is_refused(tiny, whole, tmp_path):
    (tmp_path / "run").mkdir()
    unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole)
    with pytest.raises(RunError, match="begun with another configuration"):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True, seed=1)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tiny, whole, tmp_path, caplog):
    unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=Interrupt(14))
    latest = tmp_path / "run" / "checkpoints" / "14" / "state.safetensors"
    latest.write_bytes(latest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=True)
    assert "damaged" in caplog.text
    assert contents(tmp_path / "run") == contents(whole)


def test_training_is_a_function_of_the_seed(tiny, whole, tmp_path):
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = unveil.train(tiny, recipe=SMALL, out=tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert contents(again.path) == contents(whole)
    other = unveil.train(tiny, recipe=SMALL, out=tmp_path / "b", seed=1)
    assert contents(other.path) != contents(whole)


def test_saved_and_loaded_models_give_identical_samples(whole, tiny, tmp_path):
    run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "a")
    loaded = unveil.open(whole)
    assert torch.equal(run.model.sample(8, seed=5), loaded.model.sample(8, seed=5))
    assert not torch.equal(loaded.model.sample(8, seed=5), loaded.model.sample(8, seed=6))
    assert run.evaluate(samples=10).nll == loaded.evaluate(tiny, samples=10).nll


def test_the_test_split_is_never_looked_at(tiny, whole, tmp_path):
    class Forbidden(Split):
        def __getattribute__(self, name):
            if name in ("batches", "fixed", "subset", "mean", "sample"):
                raise AssertionError(f"training asked the test split for {name}")
            return super().__getattribute__(name)

    test = tiny.test
    guarded = replace(tiny, test=Forbidden(test.name, test.values, test.labels, test.rows, test.reading))
    unveil.train(guarded, recipe=SMALL, out=tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole)
    # nor is anything else a function of it: other test images leave every byte as it is
    other = replace(tiny, test=replace(test, values=255 - test.values))
    unveil.train(other, recipe=SMALL, out=tmp_path / "other")
    assert contents(tmp_path / "other") == contents(whole)


def linear_model():
    torch.manual_seed(0)
    likelihood = Net(Mlp((2,), (), (3,)), Isotropic())
    return VAE(Standard(2), Net(Mlp((3,), (), (4,)), Gaussian(2)), likelihood), Distortion() + Rate()


def poisoned(rows):
    """300 rows of real data, of which some training rows turned into NaN after they were checked."""
    data = from_arrays(torch.randn(300, 3, generator=torch.Generator().manual_seed(0)))
    data.train.values[rows] = torch.nan
    return data


def test_a_non_finite_batch_never_reaches_the_weights_and_is_reported(caplog):
    data = poisoned([7])
    model, objective = linear_model()
    config = Training(epochs=3, batch_size=24, precision="float32")
    with caplog.at_level(logging.WARNING):
        outcome = fit(model, objective, data, config, "float32")
    assert outcome.finished
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    warnings = [record for record in caplog.records if "non-finite" in record.getMessage()]
    assert len(warnings) == 3
    assert warnings[0].args[0] == 1
    # the step is named, and it is one that saw the bad row
    feed = Feed(data.train, 24, 0, torch.device("cpu"))
    named = [int(re.search(r"step (\d+) \(rows", record.getMessage())[1]) for record in warnings]
    assert all(7 in feed.positions(step) for step in named)


def test_nothing_but_non_finite_steps_is_an_error_that_leaves_the_weights():
    data = poisoned(slice(None))
    model, objective = linear_model()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(DivergedError, match="learning rate"):
        fit(model, objective, data, Training(epochs=1, batch_size=24, validate_every=0), "float32")
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


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
        assert guarded.step(loss, rate)
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
        finite = guarded.step(loss, 1e-2)
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
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * flat.values
    assert torch.allclose(average.values, by_hand, rtol=1e-5)


def test_the_tally_means_only_finite_steps():
    tally = Tally(("a",), 3, torch.device("cpu"))
    for place, (value, finite) in enumerate([(1.0, True), (float("nan"), False), (3.0, True)]):
        tally.add({"a": torch.tensor(value)}, torch.tensor(finite), place)
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


def test_warmup_rises_with_time_and_terms_that_want_other_draws_are_refused(tiny):
    model, _ = SMALL.compose(tiny)
    draw = model.draw(next(tiny.train.batches(9, 0)))
    rate = Rate()(draw, model, torch.tensor(0.0))
    for t, weight in ((0.0, 0.0), (1.0, 0.5), (5.0, 1.0)):
        assert torch.allclose(Warmup(Rate(), 2.0)(draw, model, torch.tensor(t)), weight * rate)
    assert Sum([Distortion(), Iwae(5)]).samples == 5
    with pytest.raises(SettingError, match="Iwae 50, Iwae 5"):
        Sum([Distortion(), Iwae(50), Iwae(5)])
    with pytest.raises(SettingError, match="different numbers"):  # of one class each
        2 * Iwae(2) + 0.5 * Iwae(64)
    with pytest.raises(SettingError, match="nothing can be added"):
        Iwae(5, "dreg") + Rate()
    with pytest.raises(SettingError, match="different gradients"):
        Iwae(5) + Rate("sticking")


@pytest.mark.parametrize(
    "setting", [{"epochs": 0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"warmup": 1.0}, {"average": 1.0}]
)
def test_settings_that_cannot_be_are_refused(setting):
    with pytest.raises(SettingError, match="cannot be"):
        Training(**setting)


def test_models_and_data_that_do_not_fit_are_refused_before_the_first_step(tiny, tmp_path):
    model, objective = linear_model()
    with pytest.raises(SettingError, match="'real' data"):
        unveil.train(tiny, model=model, objective=objective, out=tmp_path / "a")
    data = from_arrays(torch.randn(100, 4))
    with pytest.raises(SettingError, match="cannot read arrays"):
        unveil.train(data, model=model, objective=objective, out=tmp_path / "b")
    model.posterior = Net(Mlp((4,), (), (4,)), Gaussian(2))
    with pytest.raises(SettingError, match=r"makes x of shape \(3,\)|cannot read"):
        unveil.train(data, model=model, objective=objective, out=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_own_parts_train_and_open_again(tmp_path):
    data = from_arrays(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    model, objective = linear_model()
    model.posterior = Net(Own(3, 4), Gaussian(2))
    run = unveil.train(data, model=model, objective=objective, out=tmp_path / "run", epochs=1, batch_size=20)
    with pytest.raises(RunError, match="parts="):
        unveil.open(tmp_path / "run")
    again = unveil.open(tmp_path / "run", parts=[Own])
    assert torch.equal(again.model.sample(4, seed=0), run.model.sample(4, seed=0))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"] == "custom"


class Own(nn.Module):
    """A user's own network."""

    def __init__(self, before, after):
        super().__init__()
        self.before, self.after = before, after
        self.layer = nn.Linear(before, after)

    def forward(self, x):
        return self.layer(x)
