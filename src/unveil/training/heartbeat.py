"""Who is there: each rank says twice a second that it lives and how far it is, so that the missing one can be named.

What is said goes to the store by which the ranks found each other. Nothing that changes a result hangs on it: it is read
only when an exchange has failed.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

INTERVAL = 0.5
"""Seconds between two beats."""
LISTENING = 2.0
"""Seconds to listen before a rank is said to be silent; a process that is swapped or short of time may miss a beat."""


class Heartbeat:
    """A thread that beats.

    Args:
        store: a connection to the store for this thread alone: a process that waits on one lets nobody else use it.
        rank: whose.
        size: how many ranks there are.

    Attributes:
        met: in how many exchanges this rank has taken part.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.met = 0
        self._count = 0
        self._ended = threading.Event()
        self._beat()
        threading.Thread(target=self._run, daemon=True, name="heartbeat").start()

    def _beat(self) -> None:
        self._count += 1
        said = {"beat": self._count, "met": self.met, "process": os.getpid(), "host": socket.gethostname()}
        self.store.set(f"beat/{self.rank}", json.dumps(said))

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            try:
                self._beat()
            except RuntimeError:
                return  # the store is gone, and with it all who could listen

    def end(self) -> None:
        """Beat no more."""
        self._ended.set()

    def missing(self, store: Any) -> list[str]:
        """The other ranks that are silent or, where all are heard, those that did not come to this exchange, by name.

        Args:
            store: a connection that this thread does not use.
        """
        try:
            before = self._heard(store)
            time.sleep(LISTENING)
            after = self._heard(store)
        except RuntimeError:
            return ["the process that started them, or rank 0,"]
        others = [rank for rank in range(self.size) if rank != self.rank]
        silent = [rank for rank in others if before[rank]["beat"] == after[rank]["beat"]]
        late = [rank for rank in others if after[rank]["met"] < self.met]
        return [f"rank {r} (process {after[r]['process']} on {after[r]['host']})" for r in silent or late]

    def _heard(self, store: Any) -> dict[int, dict[str, Any]]:
        return {rank: json.loads(store.get(f"beat/{rank}")) for rank in range(self.size)}
