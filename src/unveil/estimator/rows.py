"""The rows of X as a model reads them, and back: numbers in one space, or the typed columns of a table.

What is found out about X when an estimator is fitted, its space and how it is read, is a record of plain data that reads
other X in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from unveil.data import Binarise, Dataset, Field, Gray, Measure, Plain, Reading, Space, Split
from unveil.data.arrays import DARK
from unveil.data.single import single
from unveil.data.splitting import carve, parted
from unveil.data.tables import by_name
from unveil.data.tables.cells import MISSING
from unveil.data.tables.frame import cells_in, values_of
from unveil.data.tables.table import How, Known, from_cells
from unveil.errors import DataError, SettingError, unknown
from unveil.words import number

log = logging.getLogger(__name__)

NAME = "X"
"""What messages call the data."""
IMAGES = ("binary", "unit", "levels")
"""Measures of numbers from black to white."""
BYTE = 255
CLASSED = ("categor", "enum")
"""How the types of columns of classes begin, in pandas and polars."""
NUMERIC = ("int", "uint", "float", "double", "decimal")
"""How the types of a frame's columns begin that are numbers and nothing else."""

Held = Mapping[str, Tensor]
"""Positions of the rows of each split."""


@runtime_checkable
class Frame(Protocol):
    """A data frame, of pandas or polars alike."""

    columns: Any
    dtypes: Any

    def __getitem__(self, name: Any) -> Any:
        """A column."""
        ...


class Rows(Protocol):
    """How X is read."""

    @property
    def space(self) -> Space:
        """What one row is."""
        ...

    def dataset(self, X: Any, held: Held) -> Dataset:
        """X as a dataset whose splits have the rows at the positions `held`."""
        ...

    def back(self, x: Tensor) -> Any:
        """(N, *event) x as rows in the units of X."""
        ...


def is_worded(X: Any) -> bool:
    """Whether it is a data frame with columns that are no mere numbers: words, classes, truth values."""
    return isinstance(X, Frame) and not all(str(kind).lower().startswith(NUMERIC) for kind in X.dtypes)


def held_out(n: int, validation: float | None) -> Held:
    """All `n` rows, of which a share validates; it is chosen by a permutation that depends on `n` alone.

    Raises:
        SettingError: no such share.
    """
    none = torch.zeros(0, dtype=torch.int64)
    if not validation:
        return {"train": torch.arange(n), "validation": none, "test": none}
    if not 0 < validation < 1:
        raise SettingError(f"validation cannot be {validation} of the rows; give a share below 1, or 0 for none")
    chosen, rest = carve(n, validation)
    return {"train": rest, "validation": chosen, "test": none}


@dataclass(frozen=True)
class Numbers:
    """Rows of numbers, flat, of which all entries lie in one space.

    Attributes:
        space: what one row is.
        reading: how it is read.
        white: what stands for white where the rows are images; X is x times as much where x is between 0 and 1.
    """

    space: Space
    reading: Reading
    white: int

    @classmethod
    def of(cls, X: np.ndarray, shape: Sequence[int] | None, measure: str, levels: int | None) -> Numbers:
        """How X (N, D) is read.

        Args:
            X: all that there is to learn from.
            shape: of an image, or of whatever one row is; None for (D,).
            measure: 'auto' for binarised images where there is a shape, and real numbers else.
            levels: what stands for white; None for 1 where nothing is larger, and 255 else.

        Raises:
            DataError: X is of another size, or holds what this measure does not admit.
            SettingError: no such measure, or a white below 1.
        """
        chosen: Any = ("real" if shape is None else "binary") if measure == "auto" else measure
        if chosen not in get_args(Measure):
            raise unknown("measure", str(measure), ("auto", *get_args(Measure)))
        white = (BYTE if chosen == "levels" or X.max() > 1 else 1) if levels is None else levels
        if white < 1:
            raise SettingError(f"levels cannot be {levels}; give the number that stands for white, at least 1")
        if levels is None and chosen in IMAGES and 1 < X.max() < DARK:
            log.warning("the largest entry is %s of %d; give levels if it stands for white", number(float(X.max())), white)
        reading = {"binary": Binarise(white), "unit": Gray(white)}.get(chosen, Plain(chosen))
        event = _event(X.shape[1], shape)
        if chosen == "real":
            single(X, NAME)  # which tells of numbers that single precision would not tell apart
        return cls(Space(event, chosen, white + 1) if chosen in IMAGES else Space(event, chosen), reading, white)

    def dataset(self, X: Any, held: Held) -> Dataset:
        """X (N, D) as a dataset whose splits have the rows at the positions `held`."""
        values = self._stored(X.reshape(len(X), *self.space.shape))
        whole = Split("all", values, None, torch.arange(len(values)), self.reading)
        return Dataset(NAME, self.space, *parted(whole, held))

    def _stored(self, X: np.ndarray) -> Tensor:
        if self.space.measure not in IMAGES:
            return torch.from_numpy(single(np.array(X, np.float32), NAME, counted=self.space.measure == "count"))
        if X.min() < 0 or X.max() > self.white:
            wrong = X.min() if X.min() < 0 else X.max()
            raise DataError(
                f"{NAME} holds {number(float(wrong))}, and images are from 0 for black to {self.white} for white here; "
                "give what stands for white as levels, or measure='real'"
            )
        whole = bool((np.round(X) == X).all())
        if self.space.measure == "levels" and not whole:
            raise DataError(f"{NAME} holds numbers that are no levels; give whole ones from 0 to {self.white}")
        return torch.from_numpy(np.array(X, np.uint8 if whole and self.white <= BYTE else np.float32))

    def back(self, x: Tensor) -> np.ndarray:
        """(N, *event) x as rows (N, D) in the units of X."""
        flat = x.flatten(1).numpy()
        return flat * np.float32(self.white) if self.space.measure in ("binary", "unit") else flat


def _event(size: int, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one row; an image without channels has one."""
    event = (size,) if shape is None else tuple(map(int, shape))
    if prod(event) != size:
        raise DataError(f"{NAME} has rows of {size} numbers, which are no images of shape {event}; give another shape")
    return (1, *event) if len(event) == 2 else event


@dataclass(frozen=True)
class Table:
    """Rows of a table, whose columns have a kind each.

    Attributes:
        fields: the columns that the model reads.
        frame: the class of data frame in which rows are given back; None for an array.
        values: of the columns with classes, what stands in X for each of them.
    """

    fields: tuple[Field, ...]
    frame: type | None
    values: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, X: Any, kinds: Mapping[str, str], held: Held) -> tuple[Table, Dataset]:
        """How X is read, and X so read; `kinds` are of the columns that are other than their cells suggest.

        Raises:
            DataError: columns that cannot be read.
        """
        columns = _columns(X)
        how = How(columns={**_said(X, columns), **kinds})  # type: ignore[arg-type]
        data = from_cells(NAME, cells_in(NAME, columns), how, held=held)
        classes = {}
        for field in (field for field in data.columns if field.words):
            stands = values_of(NAME, field.name, columns[field.name])
            classes[field.name] = [stands[word] for word in field.words]
        return cls(data.columns, type(X) if isinstance(X, Frame) else None, classes), data

    @property
    def space(self) -> Space:
        """What one row is."""
        return Space((len(self.fields),), "columns", columns=tuple(field.kind for field in self.fields))

    def dataset(self, X: Any, held: Held) -> Dataset:
        """X as a dataset whose splits have the rows at the positions `held`."""
        named = _columns(X)
        read = {field.name: named[field.name] for field in self.fields}
        return from_cells(NAME, cells_in(NAME, read), known=Known(self.fields, ()), held=held)

    def back(self, x: Tensor) -> Any:
        """(N, D) x as a data frame with the words of X, or as an array where X was one."""
        bare = [replace(field, words=()) for field in self.fields]  # classes by their numbers
        named = by_name(x, bare)
        for name, values in self.values.items():
            named[name] = [values[code] for code in named[name]]
        return np.array(list(named.values()), np.float64).T if self.frame is None else self.frame(named)


def _said(X: Any, columns: Mapping[str, list[Any]]) -> dict[str, str]:
    """Kinds of the columns whose type says that they are classes, of which there are some to tell apart."""
    named = zip(columns.items(), X.dtypes, strict=True) if isinstance(X, Frame) else ()
    classed = {name: values for (name, values), kind in named if str(kind).lower().startswith(CLASSED)}
    several = [name for name, values in classed.items() if len(set(values_of(NAME, name, values)) - MISSING) > 1]
    return dict.fromkeys(several, "categorical")


def _columns(X: Any) -> dict[str, list[Any]]:
    """The columns of a frame or an array by their names."""
    if not isinstance(X, Frame):
        return {f"x{place}": column.tolist() for place, column in enumerate(X.T)}
    if len(set(X.columns)) < len(X.columns):
        raise DataError(f"{NAME} has columns of one and the same name; name each differently")
    return {str(name): X[name].to_list() for name in X.columns}
