"""Steps that are compiled or captured: the same steps, and decided upon before the first of them."""

import warnings
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
    with pytest.raises(SettingError, match="Vamp takes in the draw of each step; take compile='auto'"):
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
    with pytest.raises(SettingError, match=r"torch\.compile says: no such operation; take"):
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
    assert reckoned(epochs=50_000, hidden=(1000, 1000))  # of which each step takes longer
    assert not reckoned(epochs=50_000)
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
        self.watching = 0
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: setattr(self, "watching", mode))
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


def test_a_function_is_called_then_captured_then_replayed_and_anew_when_told(graphs):
    called = []

    def function():
        called.append(graphs.capturing)
        return torch.ones(())

    step = Captured(function, CPU)
    for number in range(WARM + 3):
        assert step() == 1
        assert called == [False] * min(number + 1, WARM) + [True] * (number >= WARM)
        assert graphs.replayed == max(0, number + 1 - WARM)
    step.forget()
    assert step() == 1
    assert called[WARM + 1 :] == [False]


def test_a_function_that_makes_the_host_wait_stays_as_it_is(graphs, caplog):
    caplog.set_level("INFO", captured.log.name)

    def function():
        assert not graphs.capturing
        if graphs.watching == "warn":
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return torch.zeros(())

    step = Captured(function, CPU)
    assert [float(step()) for _ in range(WARM + 4)] == [0.0] * (WARM + 4)
    assert graphs.replayed == 0
    assert graphs.watching == 0
    assert caplog.text.count("not captured as a CUDA graph: called a synchronizing CUDA operation") == 1


def test_a_capture_that_fails_says_how_to_do_without(graphs):
    def function():
        if graphs.capturing:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return torch.zeros(())

    step = Captured(function, CPU)
    for _ in range(WARM):
        step()
    with pytest.raises(SettingError, match=r"stream is capturing\); train with capture=False"):
        step()


def test_a_part_that_binds_other_tensors_has_the_step_captured_anew(tiny):
    told = []
    trainer = trainer_of(tiny)
    trainer.steps.captured = SimpleNamespace(forget=lambda: told.append(trainer.state.step))
    trainer.prepare()
    assert told == []
    trainer.step.model.posterior.network.mean = trainer.step.model.posterior.network.mean.clone()
    trainer.prepare()
    assert told == [0]


def test_a_training_that_goes_on_is_compiled_as_it_was(tiny, tmp_path, monkeypatch):
    asked = []

    def told(*arguments):
        asked.append(arguments[-1])
        return False

    monkeypatch.setattr("unveil.launch.pays", told)
    for resume in (False, True):
        unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", resume=resume)
    assert asked == [None, False]
    step = Step(*SMALL.compose(tiny))
    monkeypatch.setattr(compiled, "which", lambda name: name)
    assert [pays(step, tiny.train, FEW, "float32", CPU, 1, before) for before in (None, True, False)] == [
        False,
        True,
        False,
    ]
    long = replace(FEW, epochs=1_000_000)
    assert [pays(step, tiny.train, long, "float32", CPU, 1, before) for before in (None, False)] == [True, False]


def test_what_can_never_be_compiled_is_refused_before_a_folder_is_made(tiny, tmp_path):
    vamp = recipe("vamp").given(**NETWORKS, pseudo_inputs=5)
    with pytest.raises(SettingError, match="Vamp takes in the draw of each step; take compile='auto'"):
        unveil.train(tiny, recipe=vamp, compile="always", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
