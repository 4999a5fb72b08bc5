"""Ctrl-C and the wish of a machine to end are wishes: the step under way is finished, then training ends in order.

A second one ends it at once. Where several processes train together, whichever is asked tells the others, and all end after
the same step.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

WISHES = (signal.SIGINT, signal.SIGTERM)
"""What a terminal sends at Ctrl-C, and what a scheduler sends some seconds before it kills."""


class Stop:
    """Within, these signals set `wanted` instead of ending the process. In another thread than the main one they do not.

    Args:
        several: whether other processes are to end with this one, so that a signal is no more than a wish to be told them.

    Attributes:
        asked: the name of the signal that came here; None while there was none.
        by: the name of the signal by which training is to end; None while it is not.
    """

    def __init__(self, several: bool = False) -> None:
        self.several = several
        self.asked: str | None = None
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
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        if not self.several:
            self.by = self.asked
