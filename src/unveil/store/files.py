"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from math import isfinite
from pathlib import Path
from time import sleep
from typing import Any

from unveil.errors import RunError

POSIX = os.name == "posix"
"""Whether folders can be flushed, and open files replaced and removed; Windows does the first by itself."""
PATIENCE = 10
"""Times that a rename is tried where others, a virus scanner say, may hold the file for a moment."""
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


REMEDIES = {
    errno.ENOENT: "the folder is gone; name another --out",
    errno.EROFS: "make it writable, or name another --out",
    errno.EACCES: "make it writable, or name another --out",
}


def unwritable(path: Path, error: OSError) -> RunError:
    """What to say, and to do, where something cannot be written."""
    remedy = REMEDIES.get(error.errno or 0, "free some space, or name another --out")
    return RunError(f"{path} cannot be written: {error.strerror or error}; {remedy}")


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
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`; errors as of `put`."""
    put(path, lambda temporary: temporary.write_bytes(content))


def flush(path: Path) -> None:
    """Make what is in this file survive a power cut."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def move(source: Path, target: Path) -> None:
    """Rename, in place of a file that may be there."""
    for left in reversed(range(PATIENCE)):
        try:
            source.replace(target)
        except PermissionError:
            if POSIX or not left:
                raise
            sleep(0.1)
        else:
            return


def flush_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    if POSIX:
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
    """JSON that a person can read; RunError where it would be larger than what is read."""
    said = as_json(content)
    if len(said) > LARGEST:
        raise RunError(f"{path} would be larger than the {LARGEST:,} bytes that are read; give fewer or shorter names")
    write(path, said)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        RunError: no such file, one that is far too large, or no JSON.
    """
    return _parsed(path, _content(path))


def write_signed(path: Path, content: Any) -> None:
    """JSON that states the digest of what it says."""
    write_json(path, {"sha256": _digest(content), "said": content})


def read_signed(path: Path) -> Any:
    """What a file of `write_signed` says.

    Raises:
        RunError: no such file, or one in which a byte has changed.
    """
    raw = _content(path)
    content = _parsed(path, raw)
    if not isinstance(content, dict) or set(content) != {"sha256", "said"}:
        raise RunError(f"{path} is damaged: it states no digest of what it says")
    try:
        sound = content["sha256"] == _digest(content["said"]) and as_json(content) == raw
    except RecursionError:
        sound = False
    if not sound:
        raise RunError(f"{path} is damaged: its SHA-256 is not the one that it states")
    return content["said"]


def as_json(content: Any) -> bytes:
    """JSON that a person can read, byte for byte as it is written."""
    return (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode()


def _digest(content: Any) -> str:
    return hashlib.sha256(as_json(content)).hexdigest()


def _content(path: Path) -> bytes:
    try:
        with opened(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise RunError(f"{path} is damaged: it is larger than the {LARGEST:,} bytes that such a file may have")
    return content


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise RunError(f"{path} is damaged: it holds no JSON") from None


def litter(folder: Path) -> list[Path]:
    """What writers that were killed left in a folder: files and folders under temporary names."""
    return [path for path in folder.glob(".*.tmp")] if folder.is_dir() else []
