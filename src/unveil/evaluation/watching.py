"""Who is told how an evaluation goes, and where it is put down on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Watcher(Protocol):
    """Who wants to know how an evaluation goes."""

    def forecast(self, what: str, seconds: float, done: int) -> None:
        """Before `what` starts: how long it will take, and how many images were done before."""

    def done(self, images: int, total: int) -> None:
        """After each block of images."""


class Ledger(Protocol):
    """Where a weighing is put down on the way, so that one that was stopped can go on."""

    def recall(self, key: str) -> Mapping[str, Tensor]:
        """What was put down under `key`; nothing where there is none."""
        ...

    def keep(self, key: str, found: Mapping[str, Tensor]) -> None:
        """Put down what was found so far under `key`, in the place of what was put down before."""
        ...
