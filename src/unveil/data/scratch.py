"""Decoded rows in a file without a name, so that each is decoded once and none is held in memory.

The file lies in the user's cache folder. It vanishes with the process, however that ends.
"""

from __future__ import annotations

import shutil
import tempfile
from math import prod

import numpy as np
from torch import Tensor

SHARE = 0.1
"""Of the free space on that disk: more is not written."""


class Scratch:
    """Rows of bytes, written one after another and read in any order. Pages of it are this process's for a read only.

    Args:
        event_shape: of one row.
    """

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        from platformdirs import user_cache_path

        self.event_shape = event_shape
        self.count = 0
        self._file = tempfile.TemporaryFile(dir=user_cache_path("unveil", ensure_exists=True))  # noqa: SIM115

    @classmethod
    def made(cls, rows: int, event_shape: tuple[int, ...]) -> Scratch | None:
        """One with room for so many rows; None where the disk has none to spare."""
        try:
            found = cls(event_shape)
            return found if rows * prod(event_shape) < SHARE * found._free() else None
        except OSError:
            return None

    def _free(self) -> int:
        from platformdirs import user_cache_path

        return shutil.disk_usage(user_cache_path("unveil")).free

    def add(self, row: np.ndarray) -> None:
        """The next row; OSError where the disk is full."""
        self._file.write(row.tobytes())
        self.count += 1

    def settle(self) -> None:
        """All rows are written; OSError where the disk is full."""
        self._file.flush()

    def read(self, places: Tensor) -> np.ndarray:
        """(n, *event) the rows at `places`; called by several threads at once."""
        rows = np.memmap(self._file, np.uint8, "r", shape=(self.count, *self.event_shape))
        return np.asarray(rows[places.numpy()])  # a copy: the map ends here, and so does what it holds of memory
