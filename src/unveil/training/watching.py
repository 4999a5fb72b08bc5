"""Who is told how training goes, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


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


class Monitor(Protocol):
    """Who watches: three methods."""

    def begin(self, steps: int, done: int, batch_size: int, steps_per_epoch: int, normalised: bool) -> None:
        """Before the first step."""

    def step(self, step: int) -> None:
        """After step `step`; nothing is read from the device for it."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """After each epoch."""


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
