"""Arrays that stay in their file: the operating system reads the pages that are asked for, and forgets them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.data.single import Looked
from unveil.data.space import check_channels
from unveil.data.store import Blocks, Store, spans
from unveil.errors import DataError, option
from unveil.hardware import exceeds

SHARE = 0.25
"""Of the memory: a larger file is mapped, a smaller one read."""


@dataclass(frozen=True)
class File:
    """How a .npy file is read.

    Attributes:
        levels: the byte that stands for white; without it 255, or 1 where there are but zeros and ones.
        mapped: leave it on the disk and read rows when they are asked for, as is done with files of more than a quarter of
            the memory. This decides nothing but speed and memory.
    """

    levels: int | None = None
    mapped: bool = False


class Mapped:
    """The rows of a mapped array.

    Args:
        array: (N, *) in a file.
        name: what messages call it.
    """

    blocks: Blocks | None = None
    hashes: Tensor | None = None

    def __init__(self, array: np.ndarray, name: str) -> None:
        self.array, self.name = array, name
        self.bytes = array.dtype == np.uint8
        self.dtype = torch.uint8 if self.bytes else torch.float32
        self.event_shape = (1, *array.shape[1:]) if self.bytes and array.ndim == 3 else array.shape[1:]

    def read(self, places: Tensor) -> Tensor:
        """(n, *event) rows, bytes as they are and other numbers as floats."""
        rows = np.ascontiguousarray(self.array[places.numpy()])  # whose sums would else be rounded in another order
        with np.errstate(over="ignore"):
            rows = rows if self.bytes else rows.astype(np.float32)
        return torch.from_numpy(rows).reshape(len(places), *self.event_shape)


def rows_of(array: np.ndarray, name: str, whole: bool = False) -> Store:
    """A store of the rows of a mapped array, which holds what `as_values` takes. Numbers are read once to see that.

    Args:
        array: what `np.load(path, mmap_mode="r")` gives.
        name: what messages call it.
        whole: whether integers other than bytes are taken, as counts.

    Raises:
        DataError: no rows, a type that is neither bytes nor floats, or numbers that single precision cannot hold.
    """
    if array.ndim < 2 or array.size == 0:
        raise DataError(f"{name} has shape {array.shape}; give one example per row, (N, ...), and at least one")
    check_channels(array.shape, name)
    kind = array.dtype.kind
    if not (kind == "f" or array.dtype == np.uint8 or (whole and kind in "iu")):
        raise DataError(
            f"{name} has type {array.dtype}; give bytes (uint8) for images, floats for real data, or "
            f"{option('measure', 'count')}"
        )
    if array.dtype != np.uint8:
        looked = Looked(name, counted=whole)
        for span in spans(array.shape):
            looked.at(array[span].astype(array.dtype.newbyteorder("="), copy=False))
        looked.settle()
    return Store(Mapped(array, name), torch.arange(len(array)))


def is_large(path: Path) -> bool:
    """Whether a file is too large to be read whole."""
    return path.is_file() and exceeds(path.stat().st_size, SHARE)
