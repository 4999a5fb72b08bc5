"""Tables from memory: a data frame of pandas or polars, or any columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from unveil.data.tables.cells import MISSING, Cells, as_text, cells_of
from unveil.errors import DataError

PLAIN = (bool, int, float, str, Decimal)
"""What a cell may be; None, NaN and the like stand for a gap."""


def cells_in(source: str, columns: Mapping[str, Iterable[Any]]) -> list[Cells]:
    """Columns of numbers, words and truth values, in which a gap is None or NaN, as those of a file.

    Raises:
        DataError: a value that is no cell of a table, such as a date.
    """
    return [cells_of(source, name, [_plain(source, name, value) for value in values]) for name, values in columns.items()]


def values_of(source: str, name: str, values: Iterable[Any]) -> dict[str, Any]:
    """What stands in a column, each value by the word that its cells have for it."""
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(as_text(_plain(source, name, value)), value)
    return found


def _plain(source: str, name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, PLAIN):
        return value
    if str(value) in MISSING:
        return None
    kind = type(value).__name__
    raise DataError(f"{source}: column {name!r} holds a {kind}; write it as a number or a word, or leave the column out")
