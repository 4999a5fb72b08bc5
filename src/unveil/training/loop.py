"""The one loop. Data flows one way: feed, batch, draw, loss, step, record.

Step t sees the batch and the noise that (seed, t) stand for, so a run that stopped goes on as if it had not.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from math import inf, isfinite
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from unveil.data import Dataset, Feed, Looks
from unveil.errors import DivergedError
from unveil.models import Model
from unveil.objectives import Term
from unveil.part import Part
from unveil.randomness import reseed
from unveil.training.compiled import pays
from unveil.training.config import Precision, Training
from unveil.training.precision import autocast
from unveil.training.recovery import LOST, Recovery
from unveil.training.state import State
from unveil.training.step import FIGURES, Step
from unveil.training.steps import Steps
from unveil.training.stop import Stop
from unveil.training.tally import Tally
from unveil.training.team import ALONE, Team
from unveil.training.validation import looked
from unveil.training.watching import Audience, Journal, Monitors, Outcome, Watched
from unveil.words import number

log = logging.getLogger(__name__)

VALIDATION_BATCH = 500


def fit(
    model: Model,
    objective: Term,
    data: Dataset,
    config: Training,
    precision: Precision,
    *,
    journal: Journal | None = None,
    monitor: Audience = None,
    resume: tuple[dict[str, Tensor], dict[str, Any]] | None = None,
    team: Team = ALONE,
    compiling: bool | None = None,
) -> Outcome:
    """Train; afterwards the model has the averaged weights with the smallest loss on the validation split.

    Args:
        model: on the device; its weights are changed in place.
        objective: on the device; likewise.
        data: the training and validation splits are used, the test split never.
        config: how.
        precision: 'float32' or 'bfloat16', of the matrix products.
        journal: where records and checkpoints go; None keeps nothing.
        monitor: who watches, one or several.
        resume: tensors and facts of a checkpoint to go on from; rank 0 gives its state to the others.
        team: the processes that take each step together.
        compiling: whether the step is compiled, where it can be; None to do as the setting says.

    Raises:
        DivergedError: an epoch without one finite step; the model has the best weights from before.
    """
    device = next(model.parameters()).device
    if compiling is None:
        parts = team.size * config.accumulate
        compiling = pays(Step(model, objective), data.train, config, precision, device, parts)
    trainer = Trainer(model, objective, data, config, precision, journal, monitor, team, compiling)
    try:
        if resume is not None:
            trainer.state.restore(*resume)
        trainer.state.share(team)
        devices = range(torch.cuda.device_count()) if device.type == "cuda" else []
        with torch.random.fork_rng(devices), Stop(team.size > 1) as stop:
            finished = trainer.go(stop)
            return replace(trainer.settle(finished), stopped_by=None if finished else stop.by)
    except BaseException as error:
        if isinstance(error, DivergedError) and trainer.state.optimiser.count > 0:
            error.outcome = trainer.settle(False, look=False)
        else:
            trainer.state.flat.release()  # full precision and memory of its own, whatever went wrong
        raise
    finally:
        trainer.feed.close()


class Trainer:
    """What `fit` runs, for whoever wants to take the steps one by one. The arguments are those of `fit`."""

    def __init__(
        self,
        model: Model,
        objective: Term,
        data: Dataset,
        config: Training,
        precision: Precision,
        journal: Journal | None = None,
        monitor: Audience = None,
        team: Team = ALONE,
        compiling: bool = False,
    ) -> None:
        self.data, self.config, self.precision, self.journal, self.team = data, config, precision, journal, team
        self.monitor = Monitors(monitor)
        self.step = Step(model, objective)
        device = next(self.step.parameters()).device
        self.feed = Feed(data.train, config.batch_size, config.seed, device, config.workers)
        tally = Tally(FIGURES, self.feed.steps_per_epoch, device)
        low = torch.bfloat16 if precision == "bfloat16" else None
        self.state = State(self.step, low, config.clip, config.average, tally, team, config.shard)
        self.steps = Steps(self.step, self.feed, self.state, config, precision, team, data.space.size, compiling)
        self.microbatches = self.steps.microbatches
        self.stop: Stop | None = None
        self.saved, self.saved_at, self.late = 0, monotonic(), False
        self.recovery = Recovery(config, self.state, self.feed, journal)
        self.total = self.steps.total
        self.parts = [part for part in self.step.modules() if isinstance(part, Part)]
        looks = config.validate_every > 0 and len(data.validation) > 0
        self.validation = Looks(data.validation, VALIDATION_BATCH, config.seed, config.workers) if looks else None

    def go(self, stop: Stop) -> bool:
        """Step until the end or until somebody wants to stop; True at the end."""
        state, feed = self.state, self.feed
        self.monitor.begin(self._watched())
        self.step.train()
        self.stop = stop
        self.saved, self.saved_at = state.step, monotonic()
        while state.step < self.total and not stop.wanted:
            begins = state.step % feed.steps_per_epoch == 0
            self.recovery.begin(begins)
            if begins:
                self.prepare()
            finite = self.advance()
            if self.recovery.watches and not finite and self.recovery.lost():
                if self.journal is not None:
                    self.journal.back(state.step)
                self.saved = -1  # what was saved is of what is not any more
                self._save()
                continue
            self.monitor.step(state.step)
            if state.step % feed.steps_per_epoch == 0:
                epoch = state.step // feed.steps_per_epoch
                self._end_epoch(epoch)
                if self.config.checkpoint_every and epoch % self.config.checkpoint_every == 0:
                    self._save()
            if self._due():
                self._save()
        self._save()
        return state.step >= self.total

    def _watched(self) -> Watched:
        """What monitors are told before the first step."""
        return Watched(
            steps=self.total,
            done=self.state.step,
            batch_size=self.feed.batch_size,
            steps_per_epoch=self.feed.steps_per_epoch,
            normalised=self.step.model.normalised,
            data=self.data,
            model=self._copied,
            learning_rate=lambda step: self.steps.rate(step - 1),
        )

    def _copied(self) -> Model:
        """The model as it would be used now, in memory of its own."""
        flat, average = self.state.flat, self.state.average
        # what other ranks have of the average is theirs, and this one is alone in asking
        with flat.using(average.values if flat.cut.whole else flat.values):
            return copy.deepcopy(self.step.model).eval().requires_grad_(False)

    def _due(self) -> bool:
        """Whether a checkpoint is due by steps, or by a clock: of ranks that save together that of rank 0."""
        steps = self.config.checkpoint_steps
        late = self._late() if self.state.flat.cut.whole else self.late
        return late or (steps > 0 and self.state.step % steps == 0)

    def _late(self) -> bool:
        """Whether one is due by the clock, on which nothing but their number depends."""
        minutes = self.config.checkpoint_minutes
        return minutes > 0 and monotonic() - self.saved_at > 60 * minutes

    def prepare(self) -> None:
        """What every part does before an epoch."""
        reseed(self.config.seed, "prepare", self.state.step, device=self.feed.device)
        with autocast(self.precision, self.feed.device):  # layers read their weights in that precision here too
            for part in self.parts:
                part.prepare(self.feed.split, self.state.step / self.feed.steps_per_epoch)
        self.steps.prepared()

    def advance(self) -> Tensor:
        """One step: batch and noise are those of (seed, step); a scalar bool, whether it was finite."""
        taken = self.steps.advance(None if self.stop is None else self.stop.asked, self._late())
        self.late = taken.late
        if taken.wish is not None and self.stop is not None:
            self.stop.by = taken.wish
        return taken.finite

    def _end_epoch(self, epoch: int) -> None:
        """Read what the steps summed up, look at the validation split, tell journal and monitor."""
        figures, lost = self.state.tally.read()
        self.state.compare(self.team)
        self.recovery.left_out(lost)
        if not isfinite(figures["loss"]):
            raise DivergedError(
                f"every step of epoch {epoch} had {LOST}, so training ended there; train anew "
                f"with a learning rate below {number(self.config.learning_rate)}"
            )
        record: dict[str, Any] = {
            "epoch": epoch,
            "step": self.state.step,
            **_with_elbo(figures),
            "skipped": len(lost),
        }
        if self.validation is not None and epoch % self.config.validate_every == 0:
            record["validation"] = self._validate()
            self.state.consider(record["validation"]["loss"])
        if self.journal is not None:
            self.journal.record(record)
        self.monitor.epoch(record)

    def _validate(self) -> dict[str, float]:
        """Loss, -ELBO, distortion and rate of the averaged weights on the validation split, in nats per example."""
        assert self.validation is not None
        with self.state.flat.using(self.state.flat.whole(self.state.average.values)):
            found = looked(self.step, self.validation, self.config.seed, self.feed.device, self.team)
        means = _with_elbo({name: float(values.double().mean()) for name, values in found.items()})
        if not isfinite(means["loss"]):
            log.warning("the loss on the validation split is not finite; these weights will not be chosen")
        return means

    def _save(self) -> None:
        """Save what was not saved yet."""
        if self.journal is not None and self.saved != self.state.step:
            self.journal.checkpoint(self.state.step, self.state.tensors(), self.state.facts())
        self.saved, self.saved_at = self.state.step, monotonic()

    def settle(self, finished: bool, look: bool = True) -> Outcome:
        """Give the module the weights to use: the best, or the average of now where nothing was ever looked at."""
        state = self.state
        epoch, inside = divmod(state.step, self.feed.steps_per_epoch)
        if look and self.validation is not None and (inside or epoch % self.config.validate_every):
            state.consider(self._validate()["loss"])
        if not state.best:
            state.consider(None)
        state.use_best()
        self.step.eval()
        best, steps = (state.best_step, state.best_value), self.steps
        return Outcome(state.step, finished, *best, compiled=steps.compiled, captured=steps.replayed)


def _with_elbo(figures: Mapping[str, float]) -> dict[str, float]:
    """With -ELBO, where there is one: under a posterior without density the rate is infinite, and both are left out."""
    rate = figures.get("rate", inf)
    if not isfinite(rate):
        return {name: value for name, value in figures.items() if name != "rate"}
    return {**figures, "neg_elbo": figures["distortion"] + rate}
