"""Numbers as single precision holds them: what it cannot hold is refused, seen in the type in which the numbers come."""

from __future__ import annotations

from typing import Any

import numpy as np

from unveil.errors import DataError
from unveil.words import number

LARGEST = 2**24
"""The largest count: single precision holds no larger whole number exactly."""
LOST = 1e-3
"""Share of a standard deviation that single precision may round by."""
AT_ONCE = 2**22
"""Numbers whose differences are looked at in one go."""


def single(values: np.ndarray, name: str, gaps: bool = False, counted: bool = False) -> np.ndarray:
    """(N, *) float32 of numbers of any type, whose rounding is small beside how far an entry's numbers are apart.

    Args:
        values: (N, *) numbers.
        name: what messages call them.
        gaps: whether NaN is taken.
        counted: whether they are to be counts.

    Raises:
        DataError: an entry that is not finite, too large, no count, or numbers that would be told apart no longer.
    """
    looked = Looked(name, gaps, counted)
    found = looked.at(values)
    looked.settle()
    return found


class Looked:
    """What `single` refuses, of rows that come some at a time.

    Args:
        name: what messages call them.
        gaps: whether NaN is taken.
        counted: whether they are to be counts.
    """

    def __init__(self, name: str, gaps: bool = False, counted: bool = False) -> None:
        self.name, self.gaps, self.counted = name, gaps, counted
        self.rows = self.bad = 0
        self.apart: Apart | None = None

    def at(self, values: np.ndarray) -> np.ndarray:
        """(n, *) float32 of the next rows.

        Raises:
            DataError: an entry that is too large, or no count.
        """
        self.rows += len(values)
        self.bad += (bad := _rows(~(np.isfinite(values) | (np.isnan(values) & self.gaps))))
        with np.errstate(over="ignore", invalid="ignore"):
            found = values.astype(np.float32, copy=False)
        if bad:
            return found
        if self.counted and not bool(((values == np.round(values)) & (values >= 0) & (values <= LARGEST)).all()):
            raise DataError(f"{self.name} holds numbers that are no counts; give whole ones from 0 to {LARGEST:,}")
        if (beyond := np.isinf(found)).any():
            raise DataError(
                f"{self.name} holds {number(values[beyond].flat[0])}, and single precision ends at 3.4e38; divide all by a "
                "constant"
            )
        if values.dtype.itemsize > 2 and values.dtype != np.float32:
            self.apart = self.apart or Apart(values[0].size)
            self.apart.see(values.reshape(len(values), -1), found.reshape(len(values), -1))
        return found

    def settle(self) -> None:
        """See to what all rows together tell.

        Raises:
            DataError: entries that are not finite, or numbers that would be told apart no longer.
        """
        if self.bad:
            raise DataError(
                f"{self.name} has {self.bad} of {self.rows} rows with entries that are not finite; remove or fill them"
            )
        if self.apart is not None:
            self.apart.check(self.name)


def _rows(bad: np.ndarray) -> int:
    return int(bad.reshape(len(bad), -1).any(1).sum())


class Apart:
    """How far the numbers of each of D entries are apart, and whether single precision still tells them apart.

    Differences are taken from the least number among the first rows: those of whole numbers are exact.

    Args:
        size: D.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.base: np.ndarray | None = None
        self.largest, self.high, self.low, self.sum, self.squares = np.zeros((5, size))
        self.changed = np.zeros(size, bool)
        self.floats = True

    def see(self, values: np.ndarray, rounded: np.ndarray) -> None:
        """Take (n, D) numbers into account, which single precision would have `rounded`."""
        self.floats = values.dtype.kind == "f"
        if self.base is None:
            self.base = np.fmin.reduce(values)
        step = max(1, AT_ONCE // len(values))
        for first in range(0, values.shape[1], step):
            self._see(slice(first, first + step), values[:, first : first + step], rounded[:, first : first + step])
        self.count += len(values)

    def _see(self, these: slice, part: np.ndarray, rounded: np.ndarray) -> None:
        assert self.base is not None
        known = _from(self.base[these], part)
        for end in (np.fmin.reduce(part), np.fmax.reduce(part)):
            self.largest[these] = np.fmax(self.largest[these], np.abs(end.astype(np.float64)))
        self.low[these] = np.minimum(self.low[these], known.min(0))
        self.high[these] = np.maximum(self.high[these], known.max(0))
        self.sum[these] += known.sum(0)
        self.squares[these] += np.square(known).sum(0)
        self.changed[these] |= ((rounded != part) & ~np.isnan(part)).any(0)

    def check(self, name: str) -> None:
        """See that numbers of an entry that differ still do in single precision, as a table's columns are to.

        Raises:
            DataError: they do not.
        """
        noise = 8 * np.spacing(self.largest) if self.floats else 0.0  # of a constant that was computed
        deviation = np.sqrt(np.maximum(self.squares / self.count - np.square(self.sum / self.count), 0.0))
        lost = self.changed & (self.high - self.low > noise)
        lost &= np.spacing(self.largest.astype(np.float32)) > LOST * deviation
        if lost.any():
            place = int(np.argmax(lost))
            raise DataError(
                f"{name}: numbers of entry {place}, around {number(self.largest[place], 4)} and "
                f"{number(deviation[place], 2)} "
                "apart, are hardly told apart in single precision; subtract a constant, or take another unit"
            )


def _from(base: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, D) float64 of how far values lie above `base` (D,); 0 where nothing is known."""
    if values.dtype.kind == "f":
        return np.nan_to_num(values - base, nan=0.0).astype(np.float64)
    # whole numbers modulo 2**64, in which differences are exact
    above, ours, theirs = values >= base, values.astype(np.uint64), base.astype(np.uint64)
    return np.where(above, ours - theirs, theirs - ours).astype(np.float64) * np.where(above, 1.0, -1.0)


def whole(array: np.ndarray, said: str) -> np.ndarray:
    """int64 of whole numbers of any type.

    Raises:
        DataError: a number that is none, or too large; `said` begins the message, which names it.
    """
    kind = array.dtype.kind
    sound = np.ones(array.shape, bool)
    if kind == "f":
        sound = np.isfinite(array) & (array == np.round(array)) & (np.abs(array) < 2.0**63)
    elif kind == "u":
        sound = array <= np.array(2**63 - 1, np.uint64)
    if not sound.all():
        raise DataError(
            f"{said} that are no integers, or beyond 64 bits, as {array[~sound].flat[0]}; number them 0, 1, 2, ..."
        )
    return array.astype(np.int64)


def unmasked(array: Any, name: str, gaps: bool) -> Any:
    """An array of which NumPy masks nothing: what it masks is NaN where there may be `gaps`, and refused else."""
    if not isinstance(array, np.ma.MaskedArray) or not np.ma.getmaskarray(array).any():
        return array
    if not gaps:
        raise DataError(f"{name} has entries that are masked; remove or fill them, or name columns, which may have gaps")
    return np.ma.filled(array.astype(np.float64), np.nan)
