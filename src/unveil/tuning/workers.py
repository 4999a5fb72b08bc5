"""The processes in which trials are trained, several side by side, and what they say, in one queue."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

from unveil.tuning.trial import STOPPED

SECONDS = 0.2
"""How often somebody's wish to stop is looked for while no trial says anything."""


@dataclass(frozen=True)
class Ended:
    """What a process said last: that it is no more.

    Attributes:
        stopped: whether somebody ended it, so that it can go on where it was.
        why: what it left in its log, or how it ended.
    """

    stopped: bool
    why: str


Message: TypeAlias = dict[str, Any] | Ended
Events: TypeAlias = "SimpleQueue[tuple[Worker, Message]]"


class Worker:
    """A process that trains a trial, or goes on with it.

    Args:
        job: what `trial.work` takes.
        log: where whatever it prints goes; removed where it prints nothing.
        events: where what it says is put, beside the worker itself.
    """

    def __init__(self, job: Mapping[str, Any], log: Path, events: Events) -> None:
        self.log, self.events = log, events
        command = [sys.executable, "-c", "from unveil.tuning.trial import main; main()"]
        with log.open("wb") as errors:
            # a session of its own: Ctrl-C at the terminal is the sweep's to hear, and a trial ends by its leash
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        self.say(job)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):
                self.events.put((self, json.loads(line)))
        self.process.wait()
        self.events.put((self, self._end()))

    def _end(self) -> Ended:
        code = self.process.returncode
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        if not lines:
            self.log.unlink(missing_ok=True)
        last = f", after {lines[-1]!r}" if lines else ""
        return Ended(code in (STOPPED, -signal.SIGTERM), f"its process ended with code {code}{last}")

    def say(self, message: Any) -> None:
        """Tell the process; where it has ended, nobody."""
        with suppress(BrokenPipeError):
            self._leash.write(json.dumps(message).encode() + b"\n")
            self._leash.flush()

    def release(self) -> None:
        """Have it end in order: save what was trained."""
        with suppress(BrokenPipeError):
            self._leash.close()

    def end(self) -> None:
        """See that it has ended, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.release()

    @property
    def _leash(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin


class Workers:
    """Those that are under way. Left by whatever way, no process is left behind."""

    def __init__(self) -> None:
        self.events: Events = SimpleQueue()
        self.alive: list[Worker] = []

    def begin(self, job: Mapping[str, Any], log: Path) -> Worker:
        """Start one."""
        self.alive.append(Worker(job, log, self.events))
        return self.alive[-1]

    def next(self) -> tuple[Worker, Message] | None:
        """What one of them says next; None where for a moment nobody says anything."""
        try:
            worker, message = self.events.get(timeout=SECONDS)
        except Empty:
            return None
        if isinstance(message, Ended):
            self.alive.remove(worker)
            worker.release()
        return worker, message

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for worker in self.alive:
                worker.release()
            for worker in self.alive:
                worker.process.wait()
        finally:
            for worker in self.alive:
                worker.end()
