"""Arrays in `.npy` and `.npz` files: only what is used is read, and nothing before it is known to find room."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile

from unveil.errors import DataError
from unveil.hardware import exceeds, gigabytes

USED = (("x", "images"), ("y", "labels"), ("factors",), ("factor_names",), ("ordered",))
"""Arrays of a .npz file that are read: of each of these, the first that is there."""
ROOM = 0.5
"""Share of the memory that those of a .npz file may fill."""


def arrays_in(path: Path, mapped: bool) -> Mapping[str, Any]:
    """The arrays of a file by their names: 'x' where it holds but one.

    Raises:
        DataError: no such file, one that is no regular file or holds something else, or more than memory has room for.
    """
    if path.exists() and not path.is_file():  # a pipe is waited for without end, and a device may have none
        raise DataError(f"{path} is no regular file; write the array into one")
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
        if isinstance(content, np.ndarray):
            return {"x": content}
        with content:
            return _members(content, path)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except MemoryError:
        raise DataError(f"{path} states a size that memory has no room for; look whether it is damaged") from None
    except Exception as error:  # NumPy raises half a dozen foreign types for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "pickle" in reason or "Python objects" in reason:  # NumPy's advice is to load it nonetheless
            reason = "it holds objects, or no array at all"
        raise DataError(f"{path} is no .npy or .npz file of plain numbers: {reason}") from None


def _members(content: NpzFile, path: Path) -> Mapping[str, Any]:
    """What is used of a .npz file."""
    used = [name for names in USED for name in [one for one in names if one in content.files][:1]]
    if not {"x", "images"} & set(used):
        listed = ", ".join(content.files) or "nothing"
        raise DataError(f"{path} holds {listed}; name the array of examples 'x' or 'images'")
    for name in used:
        if exceeds(size := _stated(content, name), ROOM):
            raise DataError(
                f"{path} says that {name!r} has {gigabytes(size)}, more than memory has room for; write a .npy file, which "
                "is read bit by bit"
            )
    return {name: content[name] for name in used}


def _stated(content: NpzFile, name: str) -> int:
    """Bytes that an array takes, as the archive and the array's own header say; the larger one."""
    archive: Any = content.zip
    entry = archive.getinfo(name if name in archive.namelist() else f"{name}.npy")
    if exceeds(entry.file_size, ROOM):  # in which case the header may be as long
        return entry.file_size
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = read(file)
    return max(entry.file_size, prod(shape) * kind.itemsize)
