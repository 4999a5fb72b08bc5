"""Ctrl-C and the wish of a machine to end are wishes: the step under way is finished, then training ends in order.

A second one ends it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

WISHES = (signal.SIGINT, signal.SIGTERM)
"""What a terminal sends at Ctrl-C, and what a scheduler sends some seconds before it kills."""


class Stop:
    """Within, these signals set `wanted` instead of ending the process. In another thread than the main one they do not.

    Attributes:
        by: the name of the signal that came; None while there was none.
    """

    def __init__(self) -> None:
        self.by: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether training is to end."""
        return self.by is not None

    def __enter__(self) -> Stop:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = {wish: signal.signal(wish, self._ask) for wish in WISHES}
        return self

    def __exit__(self, *error: object) -> None:
        if self._main:
            for wish, before in self._before.items():
                signal.signal(wish, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.by = signal.Signals(number).name
