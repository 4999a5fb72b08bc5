"""A trial in a process of its own: trains an ordinary run folder, asks at each look at the validation split, evaluates.

Whoever started it talks to it by lines of JSON: the job, and an answer to each value; it says values, and how it ended. The
pipe that it is talked to by is its leash: where that is cut, by whatever befell the sweep, it ends in order, as by SIGTERM.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from queue import SimpleQueue
from time import sleep
from typing import TYPE_CHECKING, Any

from unveil.errors import DataError, RunError, SettingError, UnveilError

if TYPE_CHECKING:
    from unveil.training.watching import Watched

WAITS, WAIT = 300, 0.2
"""How often, and after how many seconds, a run folder is tried that a process which is ending still holds."""
PRUNE, GO = "prune", "go"
"""Answers to a value."""
STOPPED = 128 + signal.SIGTERM
"""The exit code where training ended before its last epoch."""


class Talk:
    """Lines to and from the sweep."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what anybody prints goes to the log
        self.said: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # unbuffered, since a buffer's lock that this thread holds would be waited for when Python ends
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                self.said.put(line.decode())
        self.said.put(None)
        os.kill(os.getpid(), signal.SIGTERM)

    def hear(self) -> Any:
        """What was said next; None where nothing will be any more."""
        line = self.said.get()
        if line is None:
            self.said.put(None)
            return None
        return json.loads(line)

    def say(self, **message: Any) -> None:
        """Tell the sweep; where it has gone, nobody."""
        try:
            self.out.write(json.dumps(message) + "\n")
            self.out.flush()
        except BrokenPipeError:
            self.hear()


class Asking:
    """Watches a training, and ends it where the sweep says so."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def begin(self, watched: Watched) -> None:
        """Nothing to do."""

    def step(self, step: int) -> None:
        """Nothing to do."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Training waits here for the answer: what a sweep of one process decides depends on no clock."""
        value = record.get("validation", {}).get("neg_elbo")
        if value is None or not isfinite(value):
            return
        self.talk.say(epoch=record["epoch"], value=value)
        if self.talk.hear() == PRUNE:
            signal.raise_signal(signal.SIGTERM)


def work(job: Mapping[str, Any], talk: Talk) -> None:
    """Train what `job` says, or go on with it, and say how good it is on the validation split.

    Raises:
        UnveilError: it cannot be trained, or diverged.
    """
    from unveil import launch
    from unveil.data import load_again
    from unveil.recipes import recipe
    from unveil.training.config import Training

    data = load_again(job["data"], job["data_dir"])
    if data.fingerprint != job["data"]["fingerprint"]:
        raise DataError(f"{data.name} has changed since the sweep began; begin another one")
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in job["settings"].items()}
    chosen = replace(recipe(job["recipe"]).given(**settings), training=Training(**job["training"]))
    path = Path(job["path"])
    _await(path)
    run = launch.train(data, chosen, out=path, resume=True, monitor=Asking(talk))
    if not run.manifest["outcome"]["finished"]:
        sys.exit(STOPPED)
    found = run.evaluate(split="validation", **job["measure"])
    figure = found.nll or found.neg_elbo
    if figure is None:
        raise SettingError(f"{chosen.name} has neither -log p(x) nor -ELBO; settings cannot be compared by it")
    talk.say(done=figure.value, stderr=figure.stderr, n=figure.n, by="neg_elbo" if found.nll is None else "nll")


def _await(path: Path) -> None:
    """Wait until a process that was left behind by a sweep that was killed has let go of the run folder."""
    from unveil.store import RunFolder

    for left in reversed(range(WAITS if path.is_dir() else 0)):
        try:
            with RunFolder(path).locked():
                return
        except RunError:
            if not left:
                raise
            sleep(WAIT)


def main() -> None:
    """Read the job, and do it."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    talk = Talk()
    job = talk.hear()
    if job is None:
        return
    try:
        work(job, talk)
    except UnveilError as error:
        talk.say(failed=str(error))
    except Exception as error:  # of somebody's data or parts, or for lack of memory: one trial's, not the sweep's
        traceback.print_exc()
        talk.say(failed=f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}")
