"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from math import isfinite
from pathlib import Path
from typing import Any

from unveil.errors import RunError

LARGEST = 16 * 2**20
"""Bytes of a JSON file: a hundred times those of the largest that is written."""


def opened(path: Path) -> BufferedReader:
    """A regular file, open for reading; RunError for anything else, pipes included, which would never answer."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RunError(f"{path} is no file; name another run folder")
        return path.open("rb")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None


def put(path: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` write a file that then stands at `path`, making its folder; whoever reads finds the old one or the new.

    Raises:
        RunError: the folder cannot be written to; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(temporary)
            flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}; free some space or name another --out"
        ) from error


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`; errors as of `put`."""
    put(path, lambda temporary: temporary.write_bytes(content))


def flush(path: Path) -> None:
    """Make what is in this file survive a power cut."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut; Windows has no such call and does so by itself."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def plain(content: Any) -> Any:
    """The same with None for numbers that JSON does not have: those that are not finite."""
    if isinstance(content, dict):
        return {name: plain(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """JSON that a person can read."""
    write(path, (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        RunError: no such file, one that is far too large, or no JSON.
    """
    try:
        with opened(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise RunError(f"{path} is damaged: it is larger than the {LARGEST:,} bytes that such a file may have")
        return json.loads(content)
    except (ValueError, RecursionError):
        raise RunError(f"{path} is damaged: it holds no JSON") from None
