"""A disk that fails, or a machine that dies, at the n-th time that something is written, flushed or renamed."""

import errno
import io
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Writer(io.BufferedWriter):
    """A file that asks before each write."""

    ask = None

    def write(self, content):
        self.ask("write")
        return super().write(content)


@contextmanager
def faults(at, strike):
    """Within, the `at`-th write, flush, rename or making of a folder below the run folder does `strike` instead.

    Gives the list of what was asked so far, by kind.
    """
    asked = []

    def ask(kind):
        asked.append(kind)
        if len(asked) == at:
            strike()

    def before(kind, original):
        def call(*given, **named):
            try:
                ask(kind)
            except OSError:
                if named.get("ignore_errors"):
                    return None
                raise
            return original(*given, **named)

        return call

    opened = Path.open

    def opening(path, mode="r", *more, **named):
        if not set(mode) & set("wax+"):
            return opened(path, mode, *more, **named)
        ask("open")
        file = Writer(io.FileIO(path, mode.replace("b", "").replace("t", "")))
        file.ask = ask
        return file if "b" in mode else io.TextIOWrapper(file, **named, write_through=True)

    def writing(path, content):
        with opening(path, "wb") as file:
            return file.write(content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", opening)
        patched.setattr(Path, "write_bytes", writing)
        for owner, name in (
            *((Path, name) for name in ("replace", "rename", "mkdir")),
            (os, "fsync"),
            (shutil, "rmtree"),
        ):
            patched.setattr(owner, name, before(name, getattr(owner, name)))
        yield asked
