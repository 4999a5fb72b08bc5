"""What training must be: a function of the seed, blind to the test split, true in what it records and chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from unveil import evaluation
from unveil.data import Feed
from unveil.training import loop
from unveil.verify.check import Gap, Law, NotApplicable, fact
from unveil.verify.rehearsal import State, Trained, Watched, floating, rehearsed, trainer
from unveil.verify.subject import Subject

FEW = 12
"""Rows below which two epochs may have the same order by chance."""
DIGITS = 1e-5
"""Of a loss, what another order of summation makes."""


def resuming(subject: Subject) -> list[Gap]:
    """Weights, records, rows and optimiser of a run that stopped, against one that did not."""
    found = rehearsed(subject)
    gaps = []
    for place, again in found.resumed.items():
        kind = f"stopped at {place}, against never"
        count = len(again.seen)
        gaps.append(_equal(f"weights and buffers are the same in the end, {kind}", again.state(), found.whole.state()))
        gaps.append(fact(f"the steps see the same rows, {kind}", again.seen == found.whole.seen[-count:]))
        later = len(again.diary.records)
        gaps.append(fact(f"the records are the same, {kind}", again.diary.records == found.whole.diary.records[-later:]))
        for step, (state, _) in again.diary.checkpoints.items():
            other = found.whole.diary.checkpoints.get(step)
            gaps.append(
                _equal(f"the checkpoint of step {step} is the same, {kind}", state, {} if other is None else other[0])
            )
    return gaps


def _equal(what: str, one: State, other: State) -> Gap:
    apart = sorted(set(one) ^ set(other)) or [name for name in one if not _same(one[name], other[name])]
    return fact(what + (f": {', '.join(apart[:3])} differ" if apart else ""), not apart)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


def choice(subject: Subject) -> list[Gap]:
    """Which weights were kept, and whether theirs are the loss and the step that are recorded."""
    found = rehearsed(subject)
    gaps = [*_chosen(found.whole, found.data, found.config.seed)]
    for step, (state, facts) in found.whole.diary.checkpoints.items():
        looks = {record["step"]: record["validation"]["loss"] for record in found.whole.diary.records}
        until = {number: value for number, value in looks.items() if number <= step}
        best = min(until, key=lambda number: until[number])
        gaps.append(fact(f"the best step is {best} in the checkpoint of step {step}", facts["best_step"] == best))
        kept, average = state["best/values"], found.whole.diary.checkpoints[best][0]["weights/average"]
        what = f"the best weights in the checkpoint of step {step} are the average of step {best}"
        gaps.append(fact(what, _same(kept, average)))
        if best != step:
            what = f"training goes on from step {step} with the latest weights, not with the best"
            gaps.append(fact(what, not _same(kept, state["weights/values"])))
    return gaps


def _chosen(trained: Trained, data: object, seed: int) -> list[Gap]:
    """The kept weights, looked at once more."""
    looks = {record["step"]: record["validation"]["loss"] for record in trained.diary.records}
    best = min(looks, key=lambda step: looks[step])
    outcome = trained.outcome
    gaps = [
        fact(
            f"the weights that were kept are of step {best}, that of the least loss, not of {outcome.best_step}",
            outcome.best_step == best,
        ),
        Gap(
            "loss of the weights that were kept, as stated, against the least one recorded",
            (inf if outcome.best_value is None else outcome.best_value) - looks[best],
        ),
    ]
    batches = data.validation.batches(loop.VALIDATION_BATCH, seed)  # type: ignore[attr-defined]
    objective = Watched(trained.objective).eval()
    rows = evaluation.bound(trained.model, batches, seed, torch.device("cpu"), objective, inf)["loss"].double()
    value = float(rows.mean())
    what = "loss on the validation split as recorded, against the mean over its rows for the weights that were kept"
    return [*gaps, Gap(what, looks[best] - value, slack=1e-4 + DIGITS * abs(value))]


def order(subject: Subject) -> list[Gap]:
    """The rows that the steps of each epoch saw."""
    found = rehearsed(subject)
    seen, epochs = found.whole.seen, found.config.epochs
    count = len(found.data.train)
    steps = len(seen) // epochs
    visits = [[row for step in seen[epoch * steps : (epoch + 1) * steps] for row in step] for epoch in range(epochs)]
    feed = Feed(found.data.train, found.config.batch_size, found.config.seed, torch.device("cpu"))
    gaps = [
        fact("an epoch has as many steps as full batches", steps == feed.steps_per_epoch and len(seen) == steps * epochs),
        fact("all rows are of the training split", all(0 <= row < count for epoch in visits for row in epoch)),
    ]
    for number, epoch in enumerate(visits):
        gaps.append(fact(f"epoch {number} visits no row twice", len(set(epoch)) == len(epoch)))
        gaps.append(fact(f"epoch {number} does not go through the rows as they lie", count < FEW or epoch != sorted(epoch)))
    if count >= FEW:
        orders = {tuple(epoch) for epoch in visits}
        gaps.append(fact("each epoch has an order of its own", len(orders) == epochs))
    return gaps


def blind(subject: Subject) -> list[Gap]:
    """Whether a training whose test split must not be touched went through."""
    looked = rehearsed(subject).looked
    return [
        fact("training does not read the test split" + (f", but it asked for its {looked}" if looked else ""), not looked)
    ]


def lost(subject: Subject) -> list[Gap]:
    """A step whose batch holds what is no number."""
    if subject.data.space.measure == "columns":
        raise NotApplicable("in a table what is no number is a gap, and its step is as good as any")
    found = rehearsed(subject)
    data = replace(found.data, train=floating(found.data.train), validation=floating(found.data.validation))
    made = trainer(subject, data, found.config)
    bad = made.feed.positions(1)[:1]
    made.prepare()
    made.feed.split.values[:][bad] = torch.nan
    made.advance()
    before = {name: value.clone() for name, value in _kept(made.state.tensors()).items()}
    made.advance()
    after = _kept(made.state.tensors())
    moved = [name for name, value in before.items() if not _same(value, after[name]) or bool(after[name].isnan().any())]
    what = "a step with a non-finite batch changes nothing"
    gaps = [fact(what + (f": {', '.join(moved[:3])} did" if moved else ""), not moved)]
    made.advance()
    finite = all(bool(value.isfinite().all()) for value in state_values(made.state.tensors()))
    return [*gaps, fact("weights and optimiser are finite after it", finite)]


def _kept(tensors: Mapping[str, Tensor]) -> State:
    """All that a lost step may not touch: the figures count it, and the average still moves on."""
    passing = ("tally", "best", "weights/average")
    return {name: value for name, value in tensors.items() if not name.startswith(passing)}


def state_values(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Weights, their average and the optimiser's moments."""
    return [value for name, value in tensors.items() if name.startswith(("weights", "optimiser"))]


LAWS = (
    Law(
        "resuming",
        "A training that was stopped and gone on with ends as one that was not, byte for byte.",
        resuming,
        "Make order and noise functions of (seed, step), and keep weights, average, optimiser, buffers and step together.",
    ),
    Law(
        "choice of weights",
        "The weights that are kept are those of the least loss on the validation split, the mean over its rows, and their "
        "step and loss are theirs.",
        choice,
        "Take the mean over rows, not over batches, and keep the best weights beside the latest ones, each with its step.",
    ),
    Law(
        "order of rows",
        "Each epoch goes through the training rows in an order of its own, and sees none twice.",
        order,
        "Seed the permutation with the epoch.",
    ),
    Law(
        "test split",
        "Training never reads the test split.",
        blind,
        "Choose by validation rows alone.",
    ),
    Law(
        "lost step",
        "A step with a non-finite batch changes neither weights nor optimiser nor buffers.",
        lost,
        "Look whether loss and gradients are finite before anything moves, buffers of normalisation included.",
    ),
)
