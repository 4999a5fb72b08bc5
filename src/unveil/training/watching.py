"""Who is told how training goes, and how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from unveil.data import Dataset
from unveil.models import Model

log = logging.getLogger(__name__)


class Journal(Protocol):
    """Where records and checkpoints go."""

    def record(self, record: Mapping[str, Any]) -> None:
        """After each epoch: what metrics.jsonl gets."""

    def event(self, event: Mapping[str, Any]) -> None:
        """After a step that was not finite: what events.jsonl gets."""

    def back(self, step: int) -> None:
        """After training went back: checkpoints after `step` are of what is not any more."""

    def checkpoint(self, step: int, state: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Everything needed to go on after `step`."""


@dataclass(frozen=True)
class Watched:
    """What there is to know of a training before its first step, and how to look at its model while it goes on.

    Attributes:
        steps: to be taken in all.
        done: taken before, by a run that is resumed.
        batch_size: examples in a step.
        steps_per_epoch: steps in an epoch.
        normalised: whether log p(x|z) is a log-likelihood of x.
        data: as the model sees them.
        model: gives a copy of the model as it would be used now, with averaged weights and at rest. It is the monitor's
            own: nothing that is done to it reaches the training. Where ranks have a slice of the average each, its weights
            are those of the last step.
        learning_rate: gives the rate by which a step was taken, for the number that `Monitor.step` is told.
        path: the run folder; None where there is none.
        about: what run.json says before the first step; empty where there is none.
    """

    steps: int
    done: int
    batch_size: int
    steps_per_epoch: int
    normalised: bool
    data: Dataset
    model: Callable[[], Model]
    learning_rate: Callable[[int], float]
    path: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


class Monitor(Protocol):
    """Who watches: three methods. See `Monitors` for what becomes of one that raises."""

    def begin(self, watched: Watched) -> None:
        """Before the first step."""

    def step(self, step: int) -> None:
        """After step `step`; nothing is read from the device for it."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """After each epoch, with what metrics.jsonl got."""


Audience: TypeAlias = Monitor | Sequence[Monitor] | None
"""Who watches: one, several, or nobody."""


class Monitors:
    """Several monitors as one, none of which can lose a run.

    One that raises an error is told nothing more, which is said as a warning; training goes on as if it had not, and the
    others are told. What is no error but a wish to end, as KeyboardInterrupt is, goes through.

    Args:
        audience: who watches.
        path: the run folder, where it is known here.
        about: what run.json says, likewise.
    """

    def __init__(self, audience: Audience = None, path: Path | None = None, about: Mapping[str, Any] | None = None) -> None:
        self.monitors = [] if audience is None else list(audience) if isinstance(audience, Sequence) else [audience]
        self.path, self.about = path, about

    def begin(self, watched: Watched) -> None:
        """Tell all, and with it what is known here."""
        if self.path is not None:
            watched = replace(watched, path=self.path)
        if self.about is not None:
            watched = replace(watched, about=self.about)
        self._tell(lambda monitor: monitor.begin(watched))

    def step(self, step: int) -> None:
        """Tell all."""
        if self.monitors:
            self._tell(lambda monitor: monitor.step(step))

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Tell all."""
        self._tell(lambda monitor: monitor.epoch(record))

    def _tell(self, telling: Callable[[Monitor], None]) -> None:
        for monitor in self.monitors:
            try:
                telling(monitor)
            except Exception as error:  # somebody else's code, of which anything may come
                self.monitors = [other for other in self.monitors if other is not monitor]
                said = (str(error).splitlines() or [""])[0][:200]
                log.warning(
                    "%s raised %s: %s; it is told nothing more, and training goes on",
                    *(type(monitor).__name__, type(error).__name__, said),
                )


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        steps: steps taken in all.
        finished: False when a signal or a divergence ended it before the last epoch.
        stopped_by: the name of the signal, 'SIGINT' or 'SIGTERM'; None where there was none.
        best_step: after which step its weights were averaged.
        best_value: their loss on the validation split, all warm-ups over; None without one.
        compiled: whether its steps were.
        captured: whether the last of them were replays of a CUDA graph.
    """

    steps: int
    finished: bool
    best_step: int
    best_value: float | None
    stopped_by: str | None = None
    compiled: bool = False
    captured: bool = False
