"""A few epochs of the one loop with the model and objective at hand, and with someone who watches.

The objective is watched from within: a term around it notes which rows each step sees. After `TURN` epochs it also turns
its sign, so that training makes the loss worse from there on and the best weights are not the last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from unveil.data import Dataset, Plain, Split
from unveil.errors import DataError, SettingError
from unveil.models import Draw, Model
from unveil.objectives import Loss, Term
from unveil.objectives.term import each
from unveil.training import Training, loop, recovery
from unveil.training.average import state_of
from unveil.training.watching import Outcome
from unveil.verify.check import NotApplicable
from unveil.verify.subject import Subject

EPOCHS, TURN = 4, 2
"""Epochs, and after how many of them the loss is made worse."""
BATCH = 64
"""Examples in a step, or fewer where there are few."""
STEPS = 12
"""Steps in an epoch at most."""
SHORT = 20
"""Rows of the last, short batch of the validation split."""
FORBIDDEN = {"values", "labels", "rows", "context", "labelled"}
"""What of a test split nobody may read in training."""
State = dict[str, Tensor]


class Looked(Exception):
    """Training read the test split."""


class Guarded(Split):
    """A split that nobody may look into."""

    def __getattribute__(self, name: str) -> Any:
        if name in FORBIDDEN:
            raise Looked(name)
        return super().__getattribute__(name)


class Watched(Term):
    """An objective, and the rows that each of its steps saw."""

    def __init__(self, objective: Term) -> None:
        super().__init__()
        self.objective = objective
        self.samples, self.gradient = objective.samples, objective.gradient
        self.couples, self.reads_z = objective.couples, objective.reads_z
        self.seen: list[list[int]] = []

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        if torch.is_grad_enabled() and bool(t.isfinite()):
            self.seen.append(draw.batch.index.tolist())
        sign = -1.0 if TURN <= float(t) < float("inf") else 1.0
        return each(self.objective(draw, model, t), lambda loss: sign * loss)

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        return self.objective.players(model)


@dataclass
class Diary:
    """What a training wrote, kept in memory: a journal."""

    records: list[Mapping[str, Any]] = field(default_factory=list)
    checkpoints: dict[int, tuple[State, dict[str, Any]]] = field(default_factory=dict)

    def record(self, record: Mapping[str, Any]) -> None:
        self.records.append(copy.deepcopy(dict(record)))

    def event(self, event: Mapping[str, Any]) -> None: ...

    def back(self, step: int) -> None: ...

    def checkpoint(self, step: int, state: State, facts: Mapping[str, Any]) -> None:
        self.checkpoints[step] = {name: value.clone() for name, value in state.items()}, {**facts, "step": step}


@dataclass
class Trained:
    """How one training went.

    Attributes:
        model: what it left.
        objective: likewise.
        outcome: what `fit` returned.
        diary: records and checkpoints.
        seen: the rows of each step.
    """

    model: Model
    objective: Term
    outcome: Outcome
    diary: Diary
    seen: list[list[int]]

    def state(self) -> State:
        """Weights and buffers by name."""
        return state_of(nn.ModuleDict({"model": self.model, "objective": self.objective}))


@dataclass
class Rehearsal:
    """A training from beginning to end, and the same one stopped and gone on with.

    Attributes:
        data: what it was trained on.
        config: how.
        whole: the uninterrupted one.
        resumed: by where it was stopped, those that went on from there.
        looked: what of the test split was read; empty where nothing was.
    """

    data: Dataset
    config: Training
    whole: Trained
    resumed: dict[str, Trained]
    looked: str


def rehearsed(subject: Subject) -> Rehearsal:
    """The subject's rehearsal, held once and kept.

    Raises:
        NotApplicable: the loop refuses this model or these data before the first step.
        Exception: whatever it raises besides; the same each time.
    """
    if "rehearsal" not in subject.memo:
        try:
            subject.memo["rehearsal"] = _rehearse(subject)
        except Exception as error:
            subject.memo["rehearsal"] = error
    found = subject.memo["rehearsal"]
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Rehearsal)
    return found


def _rehearse(subject: Subject) -> Rehearsal:
    data = rehearsal_data(subject)
    size = max(1, min(BATCH, len(data.train) // 4))
    config = Training(
        epochs=EPOCHS,
        batch_size=size,
        learning_rate=1e-3,
        schedule="constant",
        warmup=0.0,
        average=0.5,
        checkpoint_every=1,
        seed=subject.seed,
        precision="float32",
    )
    try:  # no weight to train, or more exemplars than there are rows
        trainer(subject, data, config).prepare()
    except (SettingError, DataError) as error:
        raise NotApplicable(str(error)) from None
    looked = ""
    try:
        whole = train(subject, replace(data, test=guarded(data.test)), config)
    except Looked as error:
        looked = str(error)
        whole = train(subject, data, config)
    # the last epoch but one, when the best weights are not the latest any more
    late = sorted(whole.diary.checkpoints)[-2]
    resumed = {"the end of an epoch": train(subject, data, config, whole.diary.checkpoints[late])}
    resumed["the middle of one"] = train(subject, data, config, halfway(subject, data, config))
    return Rehearsal(data, config, whole, resumed, looked)


def train(subject: Subject, data: Dataset, config: Training, resume: tuple[State, dict[str, Any]] | None = None) -> Trained:
    """Train copies of the subject's model and objective, from the beginning or from a checkpoint."""
    model, objective = subject.copies()
    watched, diary = Watched(objective), Diary()
    if resume is not None:
        resume = {name: value.clone() for name, value in resume[0].items()}, dict(resume[1])
    with quiet():
        outcome = loop.fit(model, watched, data, config, "float32", journal=diary, resume=resume)
    if not outcome.finished:
        raise KeyboardInterrupt  # the loop took it for a wish to stop in order, and there is nothing to go on with
    return Trained(model, objective, outcome, diary, watched.seen)


@contextmanager
def quiet() -> Iterator[None]:
    """Within, the loop warns of nothing: a loss that is made worse on purpose may well leave what is finite."""
    logs = loop.log, recovery.log
    before = [log.disabled for log in logs]
    try:
        for log in logs:
            log.disabled = True
        yield
    finally:
        for log, was in zip(logs, before, strict=True):
            log.disabled = was


def trainer(subject: Subject, data: Dataset, config: Training) -> loop.Trainer:
    """Somebody who takes the steps one by one, ready for the first."""
    model, objective = subject.copies()
    made = loop.Trainer(model, Watched(objective), data, config, "float32")
    made.step.train()
    return made


def halfway(subject: Subject, data: Dataset, config: Training) -> tuple[State, dict[str, Any]]:
    """The state in the middle of the first epoch."""
    made = trainer(subject, data, config)
    made.prepare()
    for _ in range(max(1, made.feed.steps_per_epoch // 2)):
        made.advance()
    state = {name: value.clone() for name, value in made.state.tensors().items()}
    return state, {**made.state.facts(), "step": made.state.step}


def guarded(split: Split) -> Guarded:
    """The same split, which nobody may look into."""
    return Guarded(split.name, split.values, split.labels, split.rows, split.reading, split.context, split.labelled)


def rehearsal_data(subject: Subject) -> Dataset:
    """Few training rows, and a validation split whose last batch is short and unlike the rest."""
    data = subject.data
    train = data.train.subset(torch.arange(min(len(data.train), BATCH * STEPS + BATCH // 2)))
    held = data.validation
    with torch.no_grad():
        batch = next(held.batches(len(held), subject.seed))
        subject.reseed("validation")
        cost = subject.model.draw(batch, 1).distortion
    order = torch.nan_to_num(cost).argsort()
    most = loop.VALIDATION_BATCH
    rows = torch.cat([order[: max(1, len(order) // 2)].repeat(most)[:most], order[-1:].repeat(SHORT)])
    return replace(data, train=train, validation=held.subset(rows))


def floating(split: Split) -> Split:
    """The same rows as floats, so that they can hold what is no number."""
    measure = split.reading.measure
    return replace(split, values=split.reading.mean(split.values[:]).clone(), reading=Plain(measure))
