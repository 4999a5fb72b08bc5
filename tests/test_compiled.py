"""Steps that are compiled or captured: the same steps, and decided upon before the first of them."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.runs import SMALL, Interrupt

import unveil
from unveil.errors import SettingError
from unveil.recipes import recipe
from unveil.training import Training, captured, compiled
from unveil.training.captured import WARM, Captured
from unveil.training.compiled import obstacle, pays
from unveil.training.loop import Trainer
from unveil.training.step import Step

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FEW = Training(epochs=2, batch_size=60, validate_every=0, checkpoint_every=0)
NETWORKS = {"hidden": (16,), "latent": 3}
TRACED = {
    "vae": {},
    "cvae": {},
    "iwae": {},
    "beta-tc-vae": {},
    "exemplar": {"exemplars": 5},
    "flow-prior": {"transforms": 2, "width": 8},
    "vae-iaf": {"width": 8},
    "poincare-vae": {},
    "gumbel-vae": {},
    "m2": {},
    "factor-vae": {},
    "ladder": {"layers": 2},
}


def trainer_of(data, name="vae", config=FEW, compiling=False, **settings):
    chosen = recipe(name).given(**NETWORKS, **settings)
    seen = chosen.prepare(data)
    torch.manual_seed(0)
    trainer = Trainer(*chosen.compose(seen), seen, config, "float32", compiling=compiling)
    trainer.step.train()
    trainer.prepare()
    return trainer


def state_after(trainer, steps):
    for _ in range(steps):
        assert trainer.advance()
    return {name: tensor.clone() for name, tensor in trainer.state.tensors().items()}


@pytest.mark.parametrize("name", TRACED)
def test_a_step_is_one_graph_that_gives_the_same(tiny, name):
    torch.compiler.reset()
    trainer = trainer_of(tiny, name, **TRACED[name])
    step, batch, t = trainer.step, trainer.feed.batch(0), torch.tensor(0.5)
    torch.manual_seed(1)
    losses, figures, _ = step(batch, t)
    graph = torch.compile(lambda batch, t: step.weigh(step.draw(batch), t), fullgraph=True, backend="eager")
    torch.manual_seed(1)
    found = graph(batch, t)
    for expected, got in zip((losses, figures), found, strict=True):
        assert expected.keys() == got.keys()
        assert all(torch.allclose(expected[key], got[key], rtol=1e-5) for key in expected)


@pytest.mark.skipif(obstacle(Step(*SMALL.compose(unveil.load("digits"))), CPU, 1) is not None, reason="no C++ compiler")
def test_a_compiled_training_takes_the_same_steps_and_goes_on_exactly(tiny, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch.compiler.reset()
    plain, quick = trainer_of(tiny), trainer_of(tiny, compiling=True)
    assert quick.steps.compiled
    assert not plain.steps.compiled
    expected, found = state_after(plain, 8), state_after(quick, 8)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-4, equal_nan=True), name

    def train(out, **given):
        return unveil.train(tiny, recipe=chosen, out=tmp_path / out, **given)

    chosen = replace(SMALL, training=replace(FEW, compile="always"))
    whole = train("whole")
    assert whole.manifest["compiled"]
    assert whole.manifest["outcome"]["compiled"]
    train("run", monitor=Interrupt(4))
    train("run", resume=True)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with caplog.at_level("WARNING"):
        chosen = replace(chosen, training=replace(FEW, compile="never"))
        train("run", resume=True)
    assert "compiled was True and is False: the resumed run may differ" in caplog.text


def test_what_cannot_be_compiled_is_trained_as_it_is_or_refused(tiny, monkeypatch, caplog):
    caplog.set_level("INFO")
    always = replace(FEW, compile="always")
    with pytest.raises(SettingError, match="Vamp takes in the draw of each step; leave compile at 'auto'"):
        trainer_of(tiny, "vamp", always, True, pseudo_inputs=5)
    with pytest.raises(SettingError, match="made in several parts"):
        trainer_of(tiny, config=replace(always, accumulate=2), compiling=True)
    monkeypatch.setattr(compiled, "which", lambda name: None)
    with pytest.raises(SettingError, match="no C\\+\\+ compiler"):
        trainer_of(tiny, config=always, compiling=True)
    monkeypatch.setattr(compiled, "which", lambda name: name)

    def broken(step):
        def run(batch, t):
            step.weigh(step.draw(batch), t)[0]["model"].backward()
            raise RuntimeError("no such operation\nand a long story")

        return run

    monkeypatch.setattr("unveil.training.steps.compiled", broken)
    with pytest.raises(SettingError, match=r"torch\.compile says: no such operation; leave"):
        trainer_of(tiny, config=always, compiling=True)
    plain, fallen = trainer_of(tiny), trainer_of(tiny, compiling=True)
    assert "the step is not compiled: torch.compile says: no such operation" in caplog.text
    expected, found = state_after(plain, 3), state_after(fallen, 3)
    assert all(torch.equal(found[name], value) or value.isnan().any() for name, value in expected.items())


def test_whether_to_compile_is_reckoned_from_sizes_and_steps(tiny, monkeypatch):
    monkeypatch.setattr(compiled, "which", lambda name: name)
    monkeypatch.setattr(compiled, "find_spec", lambda name: name)

    def reckoned(device=CPU, parts=1, hidden=(16,), name="vae", **config):
        chosen = recipe(name).given(hidden=hidden)
        step = Step(*chosen.compose(tiny))
        return pays(step, tiny.train, replace(FEW, **config), "float32", device, parts)

    assert not reckoned(epochs=1_000)
    assert reckoned(epochs=1_000_000)
    assert reckoned(epochs=70_000, hidden=(1000, 1000))  # of which each step takes longer
    assert not reckoned(epochs=70_000)
    assert not reckoned(epochs=1_000_000, parts=2)
    assert not reckoned(epochs=1_000_000, name="vamp")
    assert not reckoned(epochs=1_000_000, compile="never")
    assert reckoned(epochs=1, compile="always")
    assert not reckoned(CUDA, epochs=100_000)
    assert reckoned(CUDA, epochs=1_000_000)
    assert not reckoned(torch.device("mps"), epochs=1_000_000)


def test_the_work_that_is_captured_is_the_step(tiny):
    """On a GPU `captured` replays this very function; here it is called instead."""
    plain, other = trainer_of(tiny), trainer_of(tiny)
    other.steps.captured = other.steps.work
    expected, found = state_after(plain, 9), state_after(other, 9)
    assert all(torch.equal(found[name], value) for name, value in expected.items() if not value.isnan().any())
    assert torch.equal(found["tally/rows"][:4], expected["tally/rows"][:4])
    assert not other.steps._capturable()  # on a CPU


class Graphs:
    """What a CUDA device does with streams and graphs: in a capture functions run for their operations alone."""

    def __init__(self, monkeypatch):
        self.capturing, self.replayed = False, 0
        for name in ("stream", "device"):
            monkeypatch.setattr(torch.cuda, name, lambda *_: nullcontext())
        waiting = SimpleNamespace(wait_stream=lambda other: None)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: waiting)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: waiting)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=self.replay))
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    def replay(self):
        self.replayed += 1

    def graph(self, graph, stream):
        graphs = self

        class Capture:
            def __enter__(self):
                graphs.capturing = True

            def __exit__(self, *error):
                graphs.capturing = False

        return Capture()


@pytest.fixture
def graphs(monkeypatch):
    return Graphs(monkeypatch)


def test_a_function_is_called_then_captured_then_replayed(graphs):
    called = []

    def function():
        called.append(graphs.capturing)
        return torch.ones(())

    step = Captured(function, CPU, lambda: None)
    for number in range(WARM + 3):
        assert step() == 1
        assert called == [False] * min(number + 1, WARM) + [True] * (number >= WARM)
        assert graphs.replayed == max(0, number + 1 - WARM)


def test_a_function_that_asks_the_host_stays_as_it_is(graphs, caplog):
    caplog.set_level("INFO", captured.log.name)
    undone = []

    def function():
        if graphs.capturing:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return torch.zeros(())

    step = Captured(function, CPU, lambda: undone.append(True))
    assert [float(step()) for _ in range(WARM + 4)] == [0.0] * (WARM + 4)
    assert undone == [True]
    assert graphs.replayed == 0
    assert "not captured as a CUDA graph: operation not permitted when stream is capturing" in caplog.text
