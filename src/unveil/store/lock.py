"""One process to a run folder: a lock file that names its owner, and is cleared when its owner is gone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unveil.errors import RunError


def alive(process: int) -> bool:
    """Whether a process of that number runs on this machine."""
    if os.name == "nt":  # os.kill(pid, 0) ends the process there
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)  # type: ignore[attr-defined]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined]
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path` within.

    Raises:
        RunError: another living process holds it; the message names it.
    """
    mine = json.dumps({"process": os.getpid(), "host": socket.gethostname()})
    for _ in range(3):
        try:
            _claim(path, mine)
            break
        except FileExistsError:
            owner = _owner(path)
            if owner is not None and (owner["host"] != socket.gethostname() or alive(owner["process"])):
                where = f"process {owner['process']} on {owner['host']}"
                raise RunError(f"{path.parent} is in use by {where}; wait for it, or name another --out") from None
            _clear(path)
        except OSError as error:
            raise RunError(f"{path.parent} cannot be written to: {error.strerror}; name another --out") from None
    else:
        raise RunError(f"{path.parent} is being taken by another process; wait for it, or name another --out")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _claim(path: Path, content: str) -> None:
    """Put the lock there, with its content from the first moment on; FileExistsError where one is."""
    temporary = path.with_name(f".lock.{os.getpid()}.tmp")
    try:
        temporary.write_text(content)
        try:
            os.link(temporary, path)
        except (AttributeError, PermissionError, NotImplementedError):  # a file system without hard links
            with path.open("x") as file:
                file.write(content)
    finally:
        temporary.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} is no lock that can be cleared: {error.strerror}; remove it") from None


def _owner(path: Path) -> dict | None:
    try:
        owner = json.loads(path.read_text())
        return {"process": int(owner["process"]), "host": str(owner["host"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None  # written by nobody who still lives: a lock is one small write
