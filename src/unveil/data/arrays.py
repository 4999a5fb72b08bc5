"""Data from arrays: what a person has in NumPy or torch becomes a `Dataset` with splits and a space."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.data.columns import Field, check_columns
from unveil.data.dataset import Dataset
from unveil.data.files import arrays_in
from unveil.data.mapped import is_large, rows_of
from unveil.data.reading import Binarise, Gray, Plain, Reading
from unveil.data.single import LARGEST, single, unmasked, whole
from unveil.data.space import Measure, Space, check_channels
from unveil.data.split import Split
from unveil.data.splitting import parted
from unveil.data.store import Stored, chunks
from unveil.errors import DataError, option, unknown
from unveil.words import counted

log = logging.getLogger(__name__)

DARK = 64
"""Images whose brightest byte is below this one are probably stored on another scale."""


def reading_for(values: Stored, measure: Measure | None, name: str, levels: int | None = None) -> Reading:
    """How stored values are read: bytes as binarised images unless asked otherwise, floats as real numbers."""
    if values.dtype == torch.uint8 and measure in ("levels", "count"):
        if measure == "levels" and levels and (brightest := _brightest(values)) > levels:
            raise DataError(f"{name} holds a byte of {brightest} and is said to end at {levels}; name the largest")
        return Plain(measure)
    if values.dtype == torch.uint8:
        levels = levels or _levels(_brightest(values), name)
        readings: dict[str, Reading] = {"binary": Binarise(levels), "unit": Gray(levels)}
        if (measure or "binary") not in readings:
            known = "'binary', 'unit', 'levels' or 'count'"
            raise DataError(f"{name} holds bytes, which are read as {known}, not as {measure!r}")
        return readings[measure or "binary"]
    if measure not in (None, "real", "count"):
        raise DataError(
            f"{name} holds real numbers, which are read as 'real' or 'count', not as {measure!r}; store bytes 0..255"
        )
    if measure == "count" and not all(map(_counted, chunks(values))):
        raise DataError(f"{name} holds numbers that are no counts; give whole ones from 0 to {LARGEST:,}")
    return Plain(measure or "real")


def _brightest(values: Stored) -> int:
    return max(int(chunk.max()) for chunk in chunks(values))


def _counted(values: Tensor) -> bool:
    return bool(((values == values.round()) & (values >= 0) & (values <= LARGEST)).all())


def _levels(brightest: int, name: str) -> int:
    """Which byte stands for white, guessed from the brightest one."""
    if 1 < brightest < DARK:
        log.warning("%s: the brightest byte is %d of 255; multiply all if it stands for white", name, brightest)
    return 1 if brightest <= 1 else 255  # zeros and ones are binary images already


def as_values(array: Any, name: str, integers: bool = False, gaps: bool = False) -> Tensor:
    """Stored values from an array: (N, H, W) bytes become (N, 1, H, W); floats must be finite.

    Args:
        array: anything that NumPy or torch can read.
        name: what messages call it.
        integers: whether those other than bytes are taken, as floats: counts, unless there may be gaps.
        gaps: whether NaN is taken, for an entry of which nothing is known.

    Raises:
        DataError: no rows, a type that is neither bytes nor floats, or an entry that is not finite.
    """
    values = _numeric(array, name, gaps)
    if values.ndim < 2 or values.size == 0:
        raise DataError(f"{name} has shape {values.shape}; give one example per row, (N, ...), and at least one")
    check_channels(values.shape, name)
    if values.dtype == np.uint8:
        stored = torch.from_numpy(np.ascontiguousarray(values))
        return stored.unsqueeze(1) if stored.dim() == 3 else stored
    if not (values.dtype.kind == "f" or integers):
        raise DataError(
            f"{name} has type {values.dtype}; give bytes (uint8) for images, floats for real data, or "
            f"{option('measure', 'count')}"
        )
    return torch.from_numpy(np.ascontiguousarray(single(values, name, gaps, counted=integers and not gaps)))


def _numeric(array: Any, name: str, gaps: bool = False) -> np.ndarray:
    """An array of numbers in the type they come in; those that NumPy has no type for as float32, which holds them."""
    try:
        if isinstance(array, Tensor):
            array = array.detach().cpu()
            array = (array.float() if array.is_floating_point() and array.itemsize < 4 else array).numpy()
        array = np.asarray(unmasked(array, name, gaps))
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name} is no array: {str(error).splitlines()[0]}") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} has type {array.dtype}; give an array of numbers")
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)  # torch takes this machine's byte order alone


def as_labels(array: Any, count: int, name: str, of: str = "images") -> Tensor:
    """(N,) int64 labels, as many as there are examples.

    Raises:
        DataError: another number of labels than of examples, or labels that are no integers.
    """
    labels = _numeric(array, "labels")
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(f"{name} has {count} {of} but labels of shape {labels.shape}; give one label for each of the {of}")
    return torch.from_numpy(whole(labels, f"{name} has labels"))


def as_factors(array: Any, count: int, name: str, names: Sequence[str] | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """(N, F) int64 factors, a row for each example, and their F names.

    Args:
        array: (N, F) integers.
        count: N, how many examples there are.
        name: what messages call the data.
        names: one for each factor; None for 'factor 0', 'factor 1', ...

    Raises:
        DataError: another number of rows than of examples, values that are no integers, or names that do not fit.
    """
    factors = _numeric(array, "factors")
    if factors.ndim != 2 or len(factors) != count or factors.shape[1] == 0:
        raise DataError(
            f"{name} has {counted(count, 'example')} but factors of shape {factors.shape}; give a row of factors for each"
        )
    values = torch.from_numpy(whole(factors, f"{name} has factors"))
    named = tuple(f"factor {place}" for place in range(factors.shape[1])) if names is None else tuple(map(str, names))
    if len(named) != factors.shape[1] or len(set(named)) != len(named):
        raise DataError(f"{name} has {factors.shape[1]} factors named {', '.join(named)}; give each a name of its own")
    return values, named


def from_arrays(
    values: Any,
    labels: Any = None,
    name: str = "arrays",
    measure: Measure | None = None,
    levels: int | None = None,
    columns: Sequence[str] | None = None,
    factors: Any = None,
    factor_names: Sequence[str] | None = None,
    ordered: Sequence[str] = (),
) -> Dataset:
    """A dataset from one array: a tenth each becomes validation and test, by a permutation that depends on N alone.

    Args:
        values: (N, *event) bytes (images: (N, H, W), (N, 1, H, W) or (N, 3, H, W)), floats, or integers to be counts. A
            `numpy.memmap` stays in its file.
        labels: (N,) integers, or None.
        name: what messages and manifests call it.
        measure: 'binary' (the default for bytes), 'unit' or 'levels'; 'real' (the default for floats) or 'count'.
        levels: the byte that stands for white, the largest of the levels; None for 255, or, unless they are read as levels,
            1 where there are but zeros and ones.
        columns: where `values` (N, D) are a table, the kind of each column: 'real', 'positive', 'count', 'ordinal:5' or
            'categorical:3'. The measure is then 'columns', classes are numbered from 0, and NaN is an entry of which
            nothing is known.
        factors: (N, F) integers that say what each example was made from, or None. No model sees them; the figures of
            disentanglement do.
        factor_names: F names for them; None for 'factor 0', 'factor 1', ...
        ordered: the names of those whose values are in order, as sizes are; the values of the others are classes.

    Raises:
        DataError: the arrays contradict each other, or hold what cannot be read.
    """
    table = columns is not None
    whole_numbers, on_disk = measure == "count" or table, isinstance(values, np.memmap) and not table
    if columns is not None:
        values = _numeric(values, name, gaps=True)
    stored: Stored = rows_of(values, name, whole_numbers) if on_disk else as_values(values, name, whole_numbers, gaps=table)
    marks = None if labels is None else as_labels(labels, len(stored), name)
    known, names = (None, ()) if factors is None else as_factors(factors, len(stored), name, factor_names)
    for one in ordered:
        if one not in names:
            raise unknown("factor", one, names, DataError)
    if columns is not None:
        check_columns(torch.from_numpy(values.astype(np.float64)), columns, name)  # whole before they are rounded to be so
        stored = stored[:].float()
        check_columns(stored, columns, name)
    reading = reading_for(stored, measure, name, levels) if columns is None else Plain("columns")
    rows = Split("all", stored, marks, torch.arange(len(stored)), reading, factors=known)
    space = Space(tuple(stored.shape[1:]), reading.measure, (levels or 255) + 1, tuple(columns or ()))
    parts = parted(rows, {})
    white = reading.levels if isinstance(reading, (Binarise, Gray)) else levels
    options = {} if white is None else {"levels": white}  # so that other bytes are read on the same scale
    named = tuple(Field(f"column {place}", kind) for place, kind in enumerate(columns or ()))
    return Dataset(name, space, *parts, factors=names, ordered=tuple(ordered), columns=named, options=options)


def from_file(path: Path, measure: Measure | None = None, levels: int | None = None, mapped: bool = False) -> Dataset:
    """A dataset from a `.npy` file (values) or a `.npz` file (`x` or `images`, and perhaps `y` or `labels`).

    A `.npz` file may hold `factors` (N, F) as well, and beside them `factor_names` (F,) and `ordered`, the names of those
    whose values are in order. `levels` is the byte that stands for white; None for 255. A `.npy` file
    that is large, or is to be `mapped`, stays on the disk, and its rows are read when they are asked for.

    Raises:
        DataError: no such file, or one that holds something else. Pickled objects are refused, never loaded.
    """
    if mapped and path.suffix != ".npy":
        raise DataError(f"{path} cannot be mapped: only a .npy file lies on the disk as it is used; write it as one")
    in_place = path.suffix == ".npy" and (mapped or is_large(path))
    arrays = arrays_in(path, in_place)
    values = next(arrays[name] for name in ("x", "images") if name in arrays)
    labels = next((arrays[name] for name in ("y", "labels") if name in arrays), None)
    return from_arrays(
        values,
        labels,
        name=str(path),
        measure=measure,
        levels=levels,
        factors=arrays.get("factors"),
        factor_names=_names(arrays, "factor_names"),
        ordered=_names(arrays, "ordered") or (),
    )


def _names(arrays: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    return None if key not in arrays else tuple(map(str, np.atleast_1d(arrays[key]).ravel()))
