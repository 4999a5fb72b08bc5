"""Numbers as single precision holds them: what it cannot hold is refused, seen in the type in which the numbers come."""

from __future__ import annotations

from typing import Any

import numpy as np

from unveil.errors import DataError

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
    if bad := _rows(~(np.isfinite(values) | (np.isnan(values) & gaps))):
        raise DataError(f"{name} has {bad} of {len(values)} rows with entries that are not finite; remove or fill them")
    if counted and not bool(((values == np.round(values)) & (values >= 0) & (values <= LARGEST)).all()):
        raise DataError(f"{name} holds numbers that are no counts; give whole ones from 0 to {LARGEST:,}")
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32, copy=False)
    if (beyond := np.isinf(found)).any():
        raise DataError(
            f"{name} holds {values[beyond].flat[0]:g}, and single precision ends at 3.4e38; divide all by a constant"
        )
    if values.dtype.itemsize > 2 and values.dtype != np.float32:
        _check_apart(values.reshape(len(values), -1), found.reshape(len(values), -1), name)
    return found


def _rows(bad: np.ndarray) -> int:
    return int(bad.reshape(len(bad), -1).any(1).sum())


def _check_apart(values: np.ndarray, found: np.ndarray, name: str) -> None:
    """See that numbers (N, D) of an entry that differ still do in single precision, as a table's columns are to."""
    step = max(1, AT_ONCE // len(values))
    for first in range(0, values.shape[1], step):
        part, rounded = values[:, first : first + step], found[:, first : first + step]
        low, high = np.fmin.reduce(part), np.fmax.reduce(part)
        # whole numbers modulo 2**64, in which differences are exact
        apart = part - low if part.dtype.kind == "f" else part.astype(np.uint64) - low.astype(np.uint64)
        with np.errstate(over="ignore"):
            known = np.where(np.isnan(apart), 0, apart).astype(np.float64)
        largest = np.fmax(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))
        noise = 8 * np.spacing(largest) if part.dtype.kind == "f" else 0.0  # of a constant that was computed
        changed = ((rounded != part) & ~np.isnan(part)).any(0)
        lost = changed & (known.max(0) > noise) & (np.spacing(largest.astype(np.float32)) > LOST * known.std(0))
        if lost.any():
            place = int(np.argmax(lost))
            raise DataError(
                f"{name}: numbers of entry {first + place}, around {largest[place]:.4g} and {known[:, place].std():.2g} "
                "apart, are hardly told apart in single precision; subtract a constant, or take another unit"
            )


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
