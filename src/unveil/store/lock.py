"""One process to a run folder: a file that the operating system locks, and unlocks when its owner dies.

What the file says is for people alone; nobody is refused because of it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from unveil.errors import RunError
from unveil.store import files


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path` within.

    Raises:
        RunError: another process holds it; the message names that one.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_claimed(path))
            if files.POSIX:  # elsewhere an open file cannot be removed
                stack.callback(path.unlink, missing_ok=True)
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
            file.flush()
        except OSError as error:
            raise RunError(f"{path.parent} cannot be locked: {error.strerror}; name another --out") from None
        yield


def _claimed(path: Path) -> IO[str]:
    """The open and locked file."""
    while True:
        file = path.open("a+")
        if not _lock(file):
            file.seek(0)
            owner = _owner(file.read())
            file.close()
            raise RunError(f"{path.parent} is in use by {owner}; wait for it, or name another --out")
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its last owner removed it between our opening and our locking: this one guards nothing


def _lock(file: IO[str]) -> bool:
    """Whether the file could be locked; a process that dies lets go by itself."""
    try:
        if files.POSIX:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(1 << 20)  # a byte that nobody reads: locked ones cannot be
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        return False
    return True


def _owner(content: str) -> str:
    try:
        owner = json.loads(content)
        return f"process {owner['process']} on {owner['host']}"
    except (ValueError, TypeError, KeyError):
        return "another process"
