"""One step after another: from a batch to other weights, in whichever way the machine is quickest at.

The work of a step is on the device and reads what changes at fixed places, so that it can be compiled, captured as a CUDA
graph, or taken as it is: the same function in each case. What only the host can do stands around it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from unveil.data import Feed
from unveil.objectives import MODEL
from unveil.randomness import reseed
from unveil.training.captured import Captured
from unveil.training.compiled import compiled, obstacle, refusal
from unveil.training.config import Precision, Training
from unveil.training.microbatches import Microbatches, Taken
from unveil.training.now import Now
from unveil.training.precision import autocast
from unveil.training.schedules import learning_rate
from unveil.training.state import State
from unveil.training.step import Step
from unveil.training.team import Team

log = logging.getLogger(__name__)

BLOWN_UP = 1_000.0
"""A step is lost too whose distortion and rate are this many times those of the first step and a nat for each entry of x:
the learning rate has led it astray, and its gradient leads further."""


@dataclass(frozen=True)
class Advanced:
    """What became of a step.

    Attributes:
        finite: a scalar bool; where it is false nothing has changed.
        wish: the signal by which some rank wants to stop; None where none does.
        late: whether by the clock of rank 0 a checkpoint is due.
    """

    finite: Tensor
    wish: str | None
    late: bool


class Steps:
    """Takes the steps of a training.

    Args:
        step: what is trained.
        feed: on what.
        state: of the run, which is moved on.
        config: how.
        precision: of the matrix products.
        team: the processes that take each step together.
        size: numbers in an x.
        compiling: whether the step is compiled, where it can be.

    Attributes:
        total: how many there are to be.
        compiled: whether they are.

    Raises:
        SettingError: they are to be compiled always, and cannot be.
    """

    def __init__(
        self,
        step: Step,
        feed: Feed,
        state: State,
        config: Training,
        precision: Precision,
        team: Team,
        size: int,
        compiling: bool = False,
    ) -> None:
        self.step, self.feed, self.state = step, feed, state
        self.config, self.precision, self.size = config, precision, size
        self.players = step.players()
        self.microbatches = Microbatches(step, feed, state.flat, team, config.accumulate, config.seed, self._low)
        self.moving = step.moving()
        self.total = config.epochs * feed.steps_per_epoch
        self.now = Now(feed.device)
        self.positions = torch.zeros(feed.batch_size, dtype=torch.int64, device=feed.device)
        self.compiled = compiling and self._compile()
        self.captured = Captured(self.work, feed.device) if config.capture and self._capturable() else None
        self.places: list[int] = []

    def _low(self) -> AbstractContextManager[Any]:
        return autocast(self.precision, self.feed.device)

    def advance(self, wanted: str | None = None, late: bool = False) -> Advanced:
        """The next step: batch and noise are those of (seed, step).

        Args:
            wanted: the signal by which this rank wants to stop.
            late: whether by its clock a checkpoint is due.
        """
        state, epoch = self.state, self.feed.steps_per_epoch
        number = state.step
        self.now.set(number / epoch, self.rate(number), state.average.follow(number), number % epoch)
        if self.captured is None or number == 0:
            found = self._take(number, wanted, late)
        else:
            self.positions.copy_(self.feed.positions(number))
            self.microbatches.reseed(number, 0)
            found = Advanced(self.captured(), None, late)
        state.step = number + 1
        return found

    def rate(self, number: int) -> float:
        """The learning rate of step `number`, counted from 0."""
        return self.state.slower * learning_rate(self.config, number, self.total)

    def _take(self, number: int, wanted: str | None, late: bool) -> Advanced:
        """Step `number`, with all that the host and other ranks have to do with it."""
        drifting = self.microbatches.drifting
        before = [buffer.clone() for buffer in drifting]
        taken = self.microbatches.take(number, self.now.t, self.backward, wanted, late)
        if number == 0:
            self.state.ceiling.copy_((BLOWN_UP * (_cost(taken).abs() + self.size)).nan_to_num(inf, posinf=inf))
        finite = self._update(taken)
        with torch.no_grad():
            for buffer, old in zip(drifting, before, strict=True):
                buffer.copy_(torch.where(finite, buffer, old))
        if self.moving and bool(finite):
            self.microbatches.move(self.moving, taken.draws, number)
        return Advanced(finite, taken.wish, taken.late)

    def work(self) -> Tensor:
        """The step that sees the rows at `positions`, on the device from its batch to its end; whether it was finite."""
        return self._update(self.microbatches.whole(self.feed.at(self.positions), self.now.t, self.backward))

    def _update(self, taken: Taken) -> Tensor:
        """Move weights and average by the gradients of a step, and count it; nothing here waits for the device."""
        state, now = self.state, self.now
        finite = state.optimiser.step(taken.loss, now.rate, _cost(taken) <= state.ceiling)
        state.average.update(now.follow)
        state.tally.add(taken.figures, finite, now.place)
        return finite

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Each player's weights get the gradient of their own loss."""
        if len(losses) == 1:
            losses[MODEL].backward()
            return
        last = list(losses)[-1]
        for name, loss in losses.items():
            mine = self.players[name]
            gradients = torch.autograd.grad(loss, mine, retain_graph=name != last, allow_unused=True)
            for parameter, gradient in zip(mine, gradients, strict=True):
                parameter.grad = gradient

    @property
    def replayed(self) -> bool:
        """Whether a step is the replay of a CUDA graph by now."""
        return self.captured is not None and self.captured.graph is not None

    def _capturable(self) -> bool:
        """Whether a step asks nothing of the host and of other ranks between its batch and its end."""
        cuda = self.feed.device.type == "cuda" and isinstance(self.feed.split.values, Tensor)
        return cuda and self.microbatches.parts == 1 and not self.moving and not self.microbatches.drifting

    def _compile(self) -> bool:
        """Have the step compiled and tried, or say why that cannot be; weights and noise are not touched."""
        device, training = self.feed.device, self.step.training
        reason = obstacle(self.step, device, self.microbatches.parts)
        if reason is None:
            long = "" if self.config.compile == "always" else ", which a training this long earns back"
            log.info("compiling the step first: half a minute or so%s", long)
            self.step.train()
            try:
                run = compiled(self.step)
                with torch.random.fork_rng([device] if device.type == "cuda" else []):
                    reseed(self.config.seed, "compile", device=device)
                    with self._low():
                        losses, _, _ = run(self.feed.batch(0), self.now.t)
                    self.backward(losses)
                self.microbatches.run = run
                return True
            except Exception as error:  # of the compiler's many kinds, none of which says more than this
                reason = f"torch.compile says: {(str(error).strip() or type(error).__name__).splitlines()[0][:200]}"
            finally:
                for parameter in self.state.flat.parameters:
                    parameter.grad = None
                self.step.train(training)
        if self.config.compile == "always":
            raise refusal(reason)
        log.info("the step is not compiled: %s", reason)
        return False

    def prepared(self) -> None:
        """Parts have prepared an epoch: what they bound to other tensors than before has to be captured anew."""
        places = [tensor.data_ptr() for tensor in (*self.step.parameters(), *self.step.buffers())]
        if self.captured is not None and places != self.places:
            self.captured.forget()
        self.places = places


def _cost(taken: Taken) -> Tensor:
    """Distortion and rate of a step, which blow up where the learning rate has led it astray."""
    return taken.figures["distortion"] + taken.figures["rate"].nan_to_num(0.0, posinf=inf)
