"""What becomes of a step that is not finite, as it was asked for: left out, the end, or back with a smaller rate."""

import json
import logging

import pytest
import torch
from helpers.runs import linear_model

import unveil
from unveil.data import Feed, from_arrays
from unveil.errors import DivergedError, SettingError
from unveil.launch import _Journal
from unveil.objectives import Distortion, Rate
from unveil.recipes import recipe
from unveil.store import RunFolder
from unveil.training import Training, recovery
from unveil.training.loop import Trainer, fit
from unveil.training.recovery import MOST

ROWS, BATCH = 300, 24
CONFIG = {"epochs": 4, "batch_size": BATCH, "precision": "float32", "schedule": "constant", "warmup": 0.0}


class Spoilt(torch.nn.Module):
    """A network after which, at the rates above `limit`, the loss of step `at` is no number: a rate that is too large."""

    def __init__(self, inner, trainer_of, at, limit):
        super().__init__()
        self.inner, self.trainer_of, self.at, self.limit = inner, trainer_of, at, limit

    def forward(self, *given):
        made = self.inner(*given)
        trainer = self.trainer_of()
        bad = self.training and trainer.state.step in self.at and trainer.state.slower > self.limit
        return made * (torch.nan if bad else 1.0)


class Diary:
    def __init__(self):
        self.events, self.records, self.states = [], [], {}

    def event(self, event):
        self.events.append(json.loads(json.dumps(event)))

    def back(self, step):
        self.states = {at: kept for at, kept in self.states.items() if at <= step}

    def record(self, record):
        self.records.append(dict(record))

    def checkpoint(self, step, state, facts):
        self.states[step] = {name: value.clone() for name, value in state.items()}, {**facts, "step": step}


class Keeping(Diary):
    """Keeps the first checkpoint of each step, as if a process had been killed before training went back."""

    def back(self, step):
        pass

    def checkpoint(self, step, state, facts):
        if step not in self.states:
            super().checkpoint(step, state, facts)


def spoilt(at, limit, **config):
    """A trainer of a linear model whose steps `at` are lost while the rate is above `limit` times what was asked for."""
    data = from_arrays(torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    model, objective = linear_model()
    model.posterior.network = Spoilt(model.posterior.network, lambda: trainer, at, limit)
    diary = Diary()
    trainer = Trainer(model, objective, data, Training(**{**CONFIG, **config}), "float32", diary)
    return trainer, diary


class Never:
    wanted, asked = False, None


def test_training_goes_back_to_the_epochs_beginning_at_half_the_rate(caplog):
    trainer, diary = spoilt({12}, 0.5, nonfinite="roll-back")
    epoch = trainer.feed.steps_per_epoch
    with caplog.at_level(logging.WARNING):
        assert trainer.go(Never())
    assert trainer.state.slower == 0.5
    (told,) = diary.events
    assert (told["step"], told["epoch"]) == (12, 2)
    assert told["then"] == f"back to step {epoch}, at 0.5 times the learning rate"
    assert told["rows"] == trainer.feed.split.rows[trainer.feed.positions(12)].tolist()
    assert [record["skipped"] for record in diary.records] == [0, 0, 0, 0]
    assert "step 12 (rows" in caplog.text

    # it is the run that had half the rate from that epoch on
    clean, kept = spoilt(set(), 0.5, nonfinite="roll-back")
    clean.config = Training(**{**CONFIG, "epochs": 1})
    clean.total = epoch
    assert clean.go(Never())
    clean.state.slower, clean.total = 0.5, trainer.total
    assert clean.go(Never())
    assert torch.equal(clean.state.flat.values, trainer.state.flat.values)
    assert torch.equal(clean.state.average.values, trainer.state.average.values)
    assert kept.records == diary.records


def test_a_step_that_comes_again_is_left_out():
    trainer, diary = spoilt({12}, 0.0, nonfinite="roll-back")
    assert trainer.go(Never())
    assert [event["then"] for event in diary.events] == [
        f"back to step {trainer.feed.steps_per_epoch}, at 0.5 times the learning rate",
        "left out",
    ]
    assert [record["skipped"] for record in diary.records] == [0, 1, 0, 0]


def test_going_back_ends_somewhere():
    trainer, diary = spoilt(set(range(9, 100)), 0.0, nonfinite="roll-back", epochs=8)
    with pytest.raises(DivergedError, match=f"gone back {MOST} times already; train anew with a learning rate below"):
        trainer.go(Never())
    assert len(diary.events) > MOST
    assert diary.events[-1]["then"] == "stopped"


@pytest.mark.parametrize("interrupted", [10, 14])
def test_a_run_that_goes_back_and_is_resumed_ends_with_the_same_bytes(interrupted):
    whole, kept = spoilt({16}, 0.5, nonfinite="roll-back", checkpoint_steps=1)
    everything = Keeping()
    whole.journal = whole.recovery.journal = everything
    assert whole.go(Never())
    kept = everything
    again, _ = spoilt({16}, 0.5, nonfinite="roll-back")
    state, facts = kept.states[interrupted]
    again.state.restore(state, json.loads(json.dumps(facts)))
    assert again.go(Never())
    theirs = again.state.tensors()
    for name, tensor in whole.state.tensors().items():
        assert torch.equal(theirs[name], tensor), name
    assert again.state.facts() == whole.state.facts()


def test_a_step_in_turns_goes_back_like_one_of_a_piece():
    trainer, diary = spoilt({12}, 0.5, nonfinite="roll-back", accumulate=2)
    assert trainer.go(Never())
    assert [event["step"] for event in diary.events] == [12]
    assert trainer.state.slower == 0.5
    assert [record["skipped"] for record in diary.records] == [0, 0, 0, 0]


def poisoned(row):
    data = from_arrays(torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)))
    data.train.values[row] = torch.nan
    return data


def test_a_row_that_is_no_number_sends_nobody_back():
    diary = Diary()
    model, objective = linear_model()
    outcome = fit(model, objective, poisoned(7), Training(**CONFIG, nonfinite="roll-back"), "float32", journal=diary)
    assert outcome.finished
    assert [event["then"] for event in diary.events] == ["left out"] * len(diary.events)
    assert diary.events


def test_training_stops_at_the_first_lost_step_where_it_is_to_stop():
    diary, data = Diary(), poisoned(7)
    model, objective = linear_model()
    feed = Feed(data.train, BATCH, 0, torch.device("cpu"))
    first = next(step for step in range(100) if 7 in feed.positions(step))
    with pytest.raises(DivergedError, match=rf"step {first} \(rows .*was to stop there; look at these rows"):
        fit(model, objective, data, Training(**CONFIG, nonfinite="stop"), "float32", journal=diary)
    assert [(event["step"], event["then"]) for event in diary.events] == [(first, "stopped")]
    assert data.train.rows[7] in diary.events[0]["rows"]


def trained(out, **more):
    model, objective = linear_model()
    settings = {**CONFIG, "epochs": 3, "checkpoint_every": 1, **more}
    return unveil.train(poisoned(7), model=model, objective=objective, out=out, **settings)


def test_events_lie_in_the_run_folder_and_go_where_training_goes_again(tmp_path):
    run, events = trained(tmp_path / "run"), tmp_path / "run" / "events.jsonl"
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert 0 < len(told) <= 3
    row = int(poisoned(7).train.rows[7])
    assert all(event["then"] == "left out" and row in event["rows"] for event in told)
    before = events.read_bytes()
    (run.path / "checkpoints" / str(run.manifest["outcome"]["steps"]) / "state.json").write_text("torn")
    trained(tmp_path / "run", resume=True)
    assert events.read_bytes() == before


def test_how_may_change_when_a_run_is_resumed_and_that_is_warned_of(tmp_path, caplog):
    with pytest.raises(DivergedError):
        trained(tmp_path / "run", nonfinite="stop", checkpoint_steps=1)
    with caplog.at_level(logging.WARNING):
        assert trained(tmp_path / "run", resume=True, nonfinite="roll-back").manifest["status"] == "finished"
    assert "nonfinite was stop and is roll-back: the resumed run may differ" in caplog.text


def test_a_loss_that_blows_up_is_lost_before_the_weights_see_it():
    """A network whose output is multiplied by 1e6 in two steps: finite, and thousands of times what it was."""
    trainer, _ = spoilt(set(), 0.0, epochs=1)
    trainer.prepare()
    trainer.advance()
    trainer.advance()
    ceiling, before = trainer.state.ceiling.clone(), trainer.state.flat.values.clone()
    first = trainer.state.tally.rows[0]
    assert ceiling == pytest.approx(1000 * (abs(float(first[1] + first[2])) + 3), rel=1e-5)
    inner = trainer.step.model.likelihood
    hook = inner.network.register_forward_hook(lambda module, given, made: 1e6 * made)
    assert not trainer.advance()
    hook.remove()
    assert torch.equal(trainer.state.flat.values, before)
    assert trainer.state.tally.rows[2].isfinite().all()
    assert trainer.advance()
    assert trainer.state.ceiling == ceiling


def test_a_learning_rate_that_is_absurd_is_refused_before_the_first_step():
    with pytest.raises(SettingError, match=r"learning rate cannot be 100\.0; give above 0 and at most 1"):
        Training(learning_rate=100.0)


def test_a_rate_that_is_too_large_comes_down_until_it_serves():
    data = unveil.load("digits")
    torch.manual_seed(0)
    model, objective = recipe("vae").compose(data)
    settings = {"epochs": 3, "batch_size": 200, "learning_rate": 1.0, "schedule": "constant", "warmup": 0.0}
    diary = Diary()
    outcome = fit(model, objective, data, Training(**settings, nonfinite="roll-back"), "float32", journal=diary)
    assert diary.events
    assert diary.events[0]["loss"] > 10_000
    assert outcome.best_value < 50  # 44 nats are those of black and white at random


def test_a_run_that_went_back_is_never_resumed_from_what_is_not_any_more(tmp_path):
    """Stopped a few steps after it went back, again and again, it comes to its end."""
    folder = RunFolder(tmp_path / "run")
    folder.create(False)

    class Few:
        asked = None

        def __init__(self, trainer, steps):
            self.trainer, self.last = trainer, trainer.state.step + steps
            self.back = None

        @property
        def wanted(self):
            state = self.trainer.state
            if self.back is None and state.went_back:
                self.back = state.step  # from here on a few steps more
                self.last = state.step + 3
            return state.step >= self.last

    ended = []
    for _ in range(20):
        trainer, _ = spoilt({16}, 0.5, nonfinite="roll-back", checkpoint_steps=5)
        trainer.journal = trainer.recovery.journal = _Journal(folder, folder.save_checkpoint)
        if folder.checkpoints():
            trainer.state.restore(*folder.checkpoint(folder.checkpoints()[-1]))
        done = trainer.go(Few(trainer, 7))
        ended.append(trainer.state.step)
        if done:
            break
    assert done
    assert trainer.state.went_back == [16]
    assert len(set(ended)) == len(ended)  # it got somewhere each time


def test_every_step_of_an_epoch_that_is_left_out_gets_an_event_as_far_as_events_go(monkeypatch):
    monkeypatch.setattr(recovery, "RECORDED", 3)
    trainer, diary = spoilt({1, 3, 11, 12, 14, 15}, 0.0)
    assert trainer.feed.steps_per_epoch == 10
    assert trainer.go(Never())
    assert [(event["step"], event["epoch"]) for event in diary.events] == [(1, 1), (3, 1), (11, 2), (12, 2), (14, 2)]
    assert [record["skipped"] for record in diary.records] == [2, 4, 0, 0]


class Noisy(Rate):
    """A term that draws when an epoch is prepared."""

    def prepare(self, data, t):
        self.drawn = float(torch.rand(()))


def test_what_is_drawn_before_an_epoch_is_a_function_of_the_seed_and_the_epoch():
    drawn = []
    for other in (0, 1):
        torch.manual_seed(other)
        data = from_arrays(torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)))
        model, _ = linear_model()
        term = Noisy()
        torch.rand(other + 1)
        trainer = Trainer(model, Distortion() + term, data, Training(**CONFIG), "float32")
        for _ in range(2):
            trainer.prepare()
            drawn.append(term.drawn)
            trainer.advance()
            trainer.state.step = trainer.feed.steps_per_epoch
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]
