"""Ctrl-C as a wish: the step under way is finished, then training ends in order. A second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Stop:
    """Within, Ctrl-C sets `wanted` instead of raising. In another thread than the main one, nothing changes."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> Stop:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
