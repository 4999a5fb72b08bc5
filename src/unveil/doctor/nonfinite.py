"""The first tensor that was not finite in a run that lost steps, and the rows of the batch that it came from.

A step is a function of the weights before it and of (seed, step), so whoever goes on from a checkpoint comes to the very
step that was lost. A lost step leaves the weights as they were: it can then be taken again, under watch. Of steps
before the kept checkpoints the weights are gone; there the step's batch and noise are looked at with the weights in use,
which finds rows that are bad whatever the weights, and says so.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from unveil.data import Dataset
from unveil.doctor.case import STEPS, Case
from unveil.doctor.finding import Finding, rows_of, some
from unveil.doctor.trace import Spot, find
from unveil.errors import RunError, SettingError
from unveil.preflight import deterministic, threads
from unveil.run import Run
from unveil.store import RunFolder
from unveil.training.config import Training
from unveil.training.loop import Trainer
from unveil.training.precision import autocast, device_for
from unveil.words import counted

MANY = 0.1
"""Share of the steps; who loses more has trained on other data than was given."""


@dataclass(frozen=True)
class NonFinite:
    """What a lost step came to grief on.

    Attributes:
        step: which, counted from 0.
        module: path of the first module with a tensor that is not finite; empty for what no module makes.
        tensor: which of its tensors, in words.
        rows: rows in the source, of the examples that it comes from; empty where it comes from none by itself.
        exact: whether the weights were those of that step; if not, those in use.
        steps: how many were looked at.
    """

    step: int
    module: str
    tensor: str
    rows: tuple[int, ...]
    exact: bool
    steps: int


def first_nonfinite(run: Run, data: Dataset, steps: int = STEPS) -> NonFinite:
    """The first tensor that is not finite, in the first lost step that can be taken again.

    The run itself is left as it is: a copy of its model goes on from a checkpoint.

    Args:
        run: one with a run folder.
        data: what it was trained on, as its model sees them.
        steps: most that are taken again.

    Raises:
        SettingError: no step was lost, or none can be taken again: no run folder, no checkpoint, another machine.
    """
    if run.path is None or "training" not in run.manifest:
        raise SettingError("without a run folder it is not known which steps were taken; open the run from its folder")
    # what several processes made of a step, one makes in as many turns
    config = Training(**run.manifest["training"])
    config = replace(config, accumulate=run.manifest.get("microbatches", 1), compile="auto")
    folder = RunFolder(run.path)
    with threads(run.manifest.get("threads", 0)), deterministic(config.deterministic):
        trainer = _trainer(run, data, config)
        lost = _epochs_with_losses(run, trainer)
        if not lost:
            raise SettingError("no step of this run was lost, so there is nothing to look for")
        device = trainer.feed.device
        with torch.random.fork_rng(range(torch.cuda.device_count()) if device.type == "cuda" else []):
            start = _last_before(folder.checkpoints(), lost, trainer.feed.steps_per_epoch)
            if start is not None:
                try:
                    trainer.state.restore(*folder.checkpoint(start))
                except RunError as error:
                    raise SettingError(f"{error}; without it no step can be taken again") from None
                return _replay(trainer, steps)
            return _guess(trainer, lost, steps)


def _trainer(run: Run, data: Dataset, config: Training) -> Trainer:
    """A copy of model and objective, about to be trained as they were."""
    both = copy.deepcopy(nn.ModuleDict({"model": run.model, "objective": run.objective})).to(device_for(config.device))
    model, objective = both["model"], both["objective"]
    compiling = bool(run.manifest.get("compiled"))  # a compiled step rounds in its own way
    return Trainer(model, objective, data, config, run.manifest["precision"], compiling=compiling)  # type: ignore[arg-type]


def _epochs_with_losses(run: Run, trainer: Trainer) -> list[int]:
    """The epochs, counted from 1, in which steps were lost; one that diverged has no record."""
    lost = [record["epoch"] for record in run.metrics() if record.get("skipped")]
    if run.manifest.get("status") == "diverged":
        lost.append(len(run.metrics()) + 1)
    return [epoch for epoch in lost if epoch * trainer.feed.steps_per_epoch <= trainer.total]


def _last_before(checkpoints: list[int], lost: list[int], epoch: int) -> int | None:
    """The latest checkpoint before the first epoch with lost steps that has any before it."""
    for number in lost:
        before = [step for step in checkpoints if step <= (number - 1) * epoch]
        if before:
            return max(before)
    return None


def _replay(trainer: Trainer, steps: int) -> NonFinite:
    """Go on until a step is lost, then take that one again under watch."""
    state, epoch = trainer.state, trainer.feed.steps_per_epoch
    trainer.step.train()
    for taken in range(min(steps, trainer.total - state.step)):
        number = state.step
        if number % epoch == 0:
            trainer.prepare()
        trainer.advance()
        if state.tally.rows[number % epoch, -1] == 1:
            continue
        spot = _watched(trainer, number)
        if spot is None:
            raise SettingError(
                f"step {number} was lost when taken again, and all of its tensors are finite: its loss has blown up; "
                "train anew with a smaller learning rate, or look at its data"
            )
        return _found(trainer, spot, number, True, taken + 1)
    raise SettingError(
        f"no step was lost in {counted(steps, 'step')} after the checkpoint; allow more of them, or look where it was "
        "trained"
    )


def _guess(trainer: Trainer, lost: list[int], steps: int) -> NonFinite:
    """Look at the batches of the epochs in which steps were lost with the weights in use."""
    epoch, taken = trainer.feed.steps_per_epoch, 0
    trainer.step.train()
    for number in (step for one in lost for step in range((one - 1) * epoch, one * epoch)):
        if taken == steps:
            break
        taken += 1
        spot = _watched(trainer, number)
        if spot is not None:
            return _found(trainer, spot, number, False, taken)
    raise SettingError(
        f"the weights of the lost steps are not kept, and with those in use all of {taken:,} steps are finite; train anew "
        "with checkpoint_every=1 and look again while the checkpoint before the first lost step is kept"
    )


def _watched(trainer: Trainer, number: int) -> Spot | None:
    """Step `number` as `Trainer.advance` takes it, with the weights as they are and none of them changed."""
    feed = trainer.feed
    t = torch.full((), number / feed.steps_per_epoch, device=feed.device)
    parts = trainer.microbatches.parts
    for part in range(parts):
        place = feed.part(part, parts)
        trainer.microbatches.reseed(number, part)
        with autocast(trainer.precision, feed.device):
            spot = find(trainer.step, feed.batch(number, place), t, gaps=feed.split.reading.measure == "columns")
        if spot is not None:
            return replace(spot, rows=spot.rows + place.start)
    return None


def _found(trainer: Trainer, spot: Spot, number: int, exact: bool, steps: int) -> NonFinite:
    rows = trainer.feed.split.rows[trainer.feed.positions(number).cpu()][spot.rows]
    return NonFinite(number, spot.module, spot.tensor, tuple(rows.tolist()), exact, steps)


def weights_not_finite(case: Case) -> Iterator[Finding]:
    """A model whose weights are no numbers: nothing else can be said of it."""
    both = nn.ModuleDict({"model": case.run.model, "objective": case.run.objective})
    named = [*both.named_parameters(), *both.named_buffers()]
    bad = {name: count for name, tensor in named if (count := int((~torch.isfinite(tensor)).sum()))}
    if bad:
        yield Finding(
            "wrong",
            "weights of the model are not finite",
            f"{sum(bad.values()):,} of n = {sum(tensor.numel() for _, tensor in named):,} numbers, in {some(bad)}",
            "open the run anew; where its file is so too, train anew with a smaller learning rate",
        )


def culprit(case: Case) -> NonFinite | SettingError | None:
    """What the first lost step came to grief on, or why that is not known; None where no step was lost. Looked for once."""
    if "culprit" not in case.memo:
        found: NonFinite | SettingError | None = None
        lost = any(record.get("skipped") for record in case.records)
        if lost or case.run.manifest.get("status") == "diverged":
            try:
                if not case.at_hand:
                    raise SettingError("the data are not at hand")
                found = first_nonfinite(case.run, case.data, case.steps)
            except SettingError as error:
                found = error
        case.memo["culprit"] = found
    known: NonFinite | SettingError | None = case.memo["culprit"]
    return known


def lost_steps(case: Case) -> Iterator[Finding]:
    """Steps that were left out because loss or gradient was not finite, and what the first of them came to grief on."""
    lost, total = sum(record.get("skipped", 0) for record in case.records), len(case.records) * case.epoch
    diverged = case.run.manifest.get("status") == "diverged"
    found = culprit(case)
    if found is None:
        return
    evidence, change = f"the tensor is not known: {found}", "train anew with half the learning rate"
    if isinstance(found, NonFinite):
        how = (
            "taken again from a checkpoint" if found.exact else "with the weights in use, since those of then are not kept"
        )
        where = f"{found.tensor} of {found.module}" if found.module else found.tensor
        train = case.data.train
        seen = torch.isin(train.rows, torch.tensor(found.rows, dtype=torch.int64))
        rows = f", in {rows_of(train, seen)} of the source" if found.rows else ""
        evidence = f"step {found.step}, {how}: {where} is not finite{rows}"
        change = "look at these rows and this module" if found.rows else change
    yield Finding(
        "wrong" if diverged or lost > MANY * total else "doubtful",
        "training diverged: from some step on no loss and gradient were finite and had not blown up"
        if diverged
        else "steps were left out because their loss or gradient was not finite or had blown up",
        f"{lost:,} of n = {total:,} steps were left out{' before' if diverged else ''}; {evidence}",
        change,
    )
