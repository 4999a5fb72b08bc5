"""Whoever watches a training changes nothing; TensorBoard's own reader finds the figures of metrics.jsonl."""

import io
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import blocks
from helpers.runs import SHORT, SMALL, Interrupt, normed
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import unveil
from unveil import album, logs
from unveil.cli import main, training
from unveil.cli.parsing import parse_train
from unveil.errors import SettingError
from unveil.logs import TensorBoard, scalars
from unveil.objectives import Distortion, Rate
from unveil.recipes import recipe
from unveil.training.average import state_of
from unveil.training.memory import Memory
from unveil.training.watching import Monitors, Watched

EPOCH = 6
"""Steps of an epoch of SMALL on 240 of the 300 tiny images."""


class Notes:
    """Notes what it is told."""

    def __init__(self):
        self.watched, self.steps, self.records = None, [], []

    def begin(self, watched):
        self.watched = watched

    def step(self, step):
        self.steps.append(step)

    def epoch(self, record):
        self.records.append(record)


class Meddles(Notes):
    """Does what it can: draws numbers, sets seeds, and ruins every model that it gets."""

    def begin(self, watched):
        super().begin(watched)
        self.ruin()

    def step(self, step):
        super().step(step)
        torch.rand(step)

    def epoch(self, record):
        super().epoch(record)
        torch.manual_seed(record["step"])
        self.ruin()

    def ruin(self):
        model = self.watched.model().train()
        model.sample(2)
        with torch.no_grad():
            for tensor in state_of(model).values():
                tensor.fill_(7)


class Raises(Notes):
    """Raises an error at one of its methods."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def begin(self, watched):
        super().begin(watched)
        self.fail("begin")

    def step(self, step):
        super().step(step)
        self.fail("step")

    def epoch(self, record):
        super().epoch(record)
        self.fail("epoch")

    def fail(self, at):
        if at == self.at:
            raise OSError("no room\nand a long story")


def contents(path):
    """Every byte that a training leaves, but for its clocks and what is of nobody's business."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and "tensorboard" not in file.parts)
    return {
        str(file.relative_to(path)): file.read_bytes() for file in files if file.name not in ("timing.jsonl", "run.json")
    }


def read(path):
    found = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A folder to call commands in, behind which the library's log is what it was."""
    log = logging.getLogger("unveil")
    before = log.handlers[:], log.level, log.propagate
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    unveil.train(tiny, recipe=SMALL, out=path)
    return path


@pytest.fixture(scope="module")
def board(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("board") / "run"
    return unveil.train(tiny, recipe=SMALL, out=path, monitor=TensorBoard(pictures=2, command="unveil train | tiny"))


# monitors


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_that_a_monitor_does_reaches_the_training(precision, tiny, tmp_path):
    chosen = replace(SMALL, training=replace(SMALL.training, precision=precision))
    unveil.train(tiny, recipe=chosen, out=tmp_path / "alone")
    state, meddler = torch.get_rng_state(), Meddles()
    run = unveil.train(tiny, recipe=chosen, out=tmp_path / "run", monitor=meddler)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(meddler.records) == 4
    assert contents(tmp_path / "run") == contents(tmp_path / "alone")
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in state_of(run.model).items()}
    meddler.ruin()  # when all is over, too
    for name, tensor in state_of(run.model).items():
        place, values = before[name]
        assert tensor.data_ptr() == place, "the weights are in memory that the training had"
        assert tensor.dtype == values.dtype
        assert torch.equal(tensor, values)


def test_layers_that_move_in_a_forward_pass_are_not_moved_by_a_monitor(tiny, tmp_path):
    for name, monitor in (("alone", None), ("run", Meddles())):
        settings = {"out": tmp_path / name, "epochs": 2, "batch_size": 50}
        unveil.train(tiny, model=normed(), objective=Distortion() + Rate(), monitor=monitor, **settings)
    assert contents(tmp_path / "run") == contents(tmp_path / "alone")


def test_the_model_of_a_monitor_is_the_one_that_would_be_used(tiny, tmp_path):
    copies = {}

    class Keeps(Notes):
        def epoch(self, record):
            copies[record["step"]] = self.watched.model()

    run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=Keeps())
    kept = copies[run.manifest["outcome"]["best_step"]]
    assert not kept.training
    assert all(torch.equal(tensor, state_of(run.model)[name]) for name, tensor in state_of(kept).items())
    assert len({float(state_of(copy)["likelihood.network.last.bias"].sum()) for copy in copies.values()}) == 4


def test_one_or_several_are_told_alike(tiny, whole, tmp_path):
    one, other = Notes(), Notes()
    run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=[one, Monitors([other])])
    for notes in (one, other):
        assert notes.steps == list(range(1, 4 * EPOCH + 1))
        assert notes.records == run.metrics()
        watched = notes.watched
        assert (watched.steps, watched.done, watched.steps_per_epoch) == (4 * EPOCH, 0, EPOCH)
        assert watched.path == run.path
        assert watched.about["recipe"] == "vae"
        assert watched.about["data"] == run.manifest["data"]
    assert contents(tmp_path / "run") == contents(whole)
    rates = [one.watched.learning_rate(step) for step in one.steps]
    assert max(rates) == pytest.approx(SMALL.training.learning_rate, rel=0.1)
    assert rates[0] < rates[3] > rates[-1] > 0


def test_a_training_in_memory_is_told_of_as_one_with_a_folder(tiny):
    notes, memory = Notes(), Memory()
    run = unveil.train(tiny, recipe=SMALL, memory=memory, monitor=notes)
    assert notes.watched.path is None
    assert notes.watched.about["data"] == run.manifest["data"]
    assert notes.records == memory.records


@pytest.mark.parametrize("at", ["begin", "step", "epoch"])
def test_a_monitor_that_raises_loses_nothing_and_is_told_nothing_more(at, tiny, whole, tmp_path, caplog):
    fails, notes = Raises(at), Notes()
    with caplog.at_level(logging.WARNING):
        run = unveil.train(tiny, recipe=SMALL, out=tmp_path / "run", monitor=[fails, notes])
    assert run.manifest["outcome"]["finished"]
    assert contents(tmp_path / "run") == contents(whole)
    assert notes.records == run.metrics()
    told = {"begin": (0, 0), "step": (1, 0), "epoch": (EPOCH, 1)}
    assert (len(fails.steps), len(fails.records)) == told[at]
    assert caplog.text.count("Raises raised OSError: no room; it is told nothing more, and training goes on") == 1
    assert "long story" not in caplog.text


# TensorBoard


def test_its_figures_are_those_of_the_metrics(board):
    found, records = read(board.path / "tensorboard"), board.metrics()
    names = [f"{name}/{split}" for name in logs.FIGURES for split in ("training", "validation")]
    assert set(found.Tags()["scalars"]) == {*names, "skipped", "learning_rate"}
    for name in (*names, "skipped"):
        seen = [(event.step, event.value) for event in found.Scalars(name)]
        assert seen == [(record["step"], float(np.float32(scalars(record)[name]))) for record in records]
    rates = [event.value for event in found.Scalars("learning_rate")]
    assert len(rates) == 4
    assert rates[-1] == pytest.approx(SMALL.training.learning_rate / (0.8 * 4 * EPOCH), rel=1e-5)  # one step of the fall


def test_its_images_are_drawn_so_often_and_show_something(board, tiny):
    found = read(board.path / "tensorboard")
    assert set(found.Tags()["images"]) == {"samples", "latent_plane", "manifold"}
    for name in found.Tags()["images"]:
        events = found.Images(name)
        assert [event.step for event in events] == [2 * EPOCH, 4 * EPOCH]
        first, last = (np.asarray(Image.open(io.BytesIO(event.encoded_image_string))) for event in events)
        assert last.std() > 5
        assert first.shape == last.shape
        assert (first != last).any()
    assert board.manifest["outcome"]["best_step"] == 4 * EPOCH
    sheet = np.asarray(Image.open(io.BytesIO(found.Images("samples")[-1].encoded_image_string)))
    expected = album.means(board.model, tiny)[0, 0].numpy()
    factor = sheet.shape[1] // 59  # ten images of five pixels, and gaps of one
    assert sheet.shape[1] == 59 * factor > 400
    assert np.abs(sheet[: 6 * factor : factor, : 5 * factor : factor, 0] / 255 - expected).max() < 0.01


def test_its_text_says_what_is_trained(board):
    (event,) = read(board.path / "tensorboard").Tensors("run/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert text.startswith("    unveil train | tiny\n")
    for row in ("recipe | vae", "model.latent | 2", "epochs | 4", "data name | tiny"):
        assert f"\n| {row} |\n" in text


def test_a_run_that_was_stopped_or_killed_goes_on_without_doubled_steps(tiny, board, tmp_path):
    class Killed(Notes):
        def step(self, step):
            if step == 3 * EPOCH + 2:
                raise KeyboardInterrupt

    cut = replace(SMALL, training=replace(SMALL.training, checkpoint_every=2))
    with pytest.raises(KeyboardInterrupt):
        unveil.train(tiny, recipe=cut, out=tmp_path / "run", monitor=[TensorBoard(pictures=4), Killed()])
    assert [event.step for event in read(tmp_path / "run" / "tensorboard").Scalars("skipped")] == [6, 12, 18]
    stop = [TensorBoard(pictures=4), Interrupt(2 * EPOCH + 3)]
    run = unveil.train(tiny, recipe=cut, out=tmp_path / "run", resume=True, monitor=stop)
    assert run.manifest["status"] == "interrupted"
    run = unveil.train(tiny, recipe=cut, out=tmp_path / "run", resume=True, monitor=TensorBoard(pictures=4))
    found, other = read(tmp_path / "run" / "tensorboard"), read(board.path / "tensorboard")
    for name in other.Tags()["scalars"]:
        seen, expected = ([(event.step, event.value) for event in one.Scalars(name)] for one in (found, other))
        assert seen == expected
    assert [event.step for event in found.Images("samples")] == [6, 12, 18, 24]
    assert [event.step for event in found.Tensors("run/text_summary")] == [1, 13, 16]


def test_it_leaves_training_and_generators_as_they_were(tiny, whole, board):
    assert contents(board.path) == contents(whole)
    monitor, states = TensorBoard(board.path.parent / "by itself"), []
    watched = Watched(EPOCH, 0, 40, EPOCH, True, tiny, lambda: board.model, lambda step: 0.1)
    for tell in (lambda: monitor.begin(watched), lambda: monitor.epoch(board.metrics()[0] | {"step": EPOCH})):
        states.append(torch.get_rng_state())
        tell()
        assert torch.equal(torch.get_rng_state(), states[-1])
    assert not board.model.training
    text = read(board.path.parent / "by itself").Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == "| what | is |\n|---|---|"


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cvae", {"samples", "latent_plane"}),
        ("vq-vae", {"samples", "latent_plane"}),
        ("ladder", {"samples", "latent_plane", "manifold"}),
        ("m2", {"samples", "latent_plane"}),
    ],
)
def test_every_kind_of_model_has_pictures(name, drawn, tiny):
    chosen = recipe(name).given(hidden=(8,), channels=(4, 4), latent=2)
    seen = chosen.prepare(tiny)
    torch.manual_seed(0)
    model, _ = chosen.compose(seen)
    monitor = TensorBoard("nowhere")
    monitor.watched = Watched(EPOCH, 0, 40, EPOCH, True, seen, lambda: model.eval(), lambda step: 0.1)
    assert set(monitor._drawn()) == drawn


def test_data_that_are_no_images_have_a_plane_of_two_principal_directions(tmp_path):
    monitor = TensorBoard(tmp_path / "logs", pictures=1)
    unveil.train("linear-gaussian", "vae", out=tmp_path / "run", monitor=monitor, **{**SHORT, "epochs": 2, "latent": 3})
    assert read(tmp_path / "logs").Tags()["images"] == ["latent_plane"]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_pictures_may_be_left_out_and_mistakes_are_told(tiny, tmp_path, monkeypatch, caplog):
    unveil.train(tiny, "vae", out=tmp_path / "run", monitor=TensorBoard(pictures=0), **SHORT)
    assert read(tmp_path / "run" / "tensorboard").Tags()["images"] == []
    with pytest.raises(SettingError, match="pictures cannot be drawn -1 times"):
        TensorBoard(pictures=-1)
    with pytest.raises(SettingError, match="no run folder to write into; give TensorBoard a folder"):
        TensorBoard().begin(Watched(1, 0, 1, 1, True, tiny, lambda: None, lambda step: 0.1))
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"TensorBoard is not installed; pip install 'unveil\[tensorboard\]'"):
        TensorBoard()


def test_it_costs_nothing_to_those_who_do_not_ask_for_it():
    code = "import sys, unveil.logs, unveil.launch; unveil.logs.TensorBoard(); sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# the terminal


def test_the_terminal_writes_them_into_the_run_folder_or_where_it_is_told(terminal, capsys):
    words = ["digits", "--recipe", "vae", "--epochs", "2", "--batch-size", "200", "--latent", "3"]
    assert main(["train", *words, "--out", "runs/a", "--tensorboard"]) == 0
    assert "tensorboard --logdir runs/a/tensorboard" in capsys.readouterr().err
    found = read(terminal / "runs" / "a" / "tensorboard")
    assert [event.step for event in found.Scalars("loss/training")] == [7, 14]
    text = found.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text.splitlines()[0].endswith(f" train {' '.join(words)} --out runs/a --tensorboard")
    given, _ = parse_train([*words, "--tensorboard", "else where", "--threads", "1"])
    monitor = training._tensorboard(given.tensorboard, ["digits", "--tensorboard", "else where"])
    assert (monitor.folder, monitor.command) == (Path("else where"), "unveil train digits --tensorboard 'else where'")
    assert parse_train(words)[0].tensorboard is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits", "--tensorboard", "a", "b"], "--tensorboard takes one folder, not a and b"),
        (["--tensorboard", "digits"], "what follows --tensorboard is its folder, so put DATA before it"),
    ],
)
def test_mistakes_at_the_terminal_are_told_in_a_line(arguments, said, capsys, terminal):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(terminal.iterdir()) == []


# the page


def test_the_page_s_examples_hear_of_every_epoch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heard = {"wandb": [], "mlflow": []}
    asked = []

    def init(**settings):
        asked.append(settings)
        return SimpleNamespace(log=lambda figures, step: heard["wandb"].append((step, figures)))

    stand_ins = {"wandb": ModuleType("wandb"), "mlflow": ModuleType("mlflow")}
    stand_ins["wandb"].init = init
    stand_ins["mlflow"].start_run = lambda run_name: asked.append(run_name)
    stand_ins["mlflow"].log_params = asked.append
    stand_ins["mlflow"].log_metrics = lambda figures, step: heard["mlflow"].append((step, figures))
    stand_ins["mlflow"].end_run = lambda: asked.append("end")
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    blocks.run(blocks.sections("logs.md").values())
    for name, figures in heard.items():
        records = unveil.open(tmp_path / "runs" / name).metrics()
        assert figures == [(record["step"], scalars(record)) for record in records]
    settings, run_name, params, end = asked
    assert (settings["id"], settings["project"], settings["config"]["recipe"]) == ("wandb", "digits", "vae")
    assert (run_name, params["epochs"], end) == ("mlflow", 2, "end")
    for name in ("board", "mlflow"):
        assert read(tmp_path / "runs" / name / "tensorboard").Scalars("rate/validation")
