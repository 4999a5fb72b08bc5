"""Parquet files with other values in some cells: every column keeps its type, and every other cell its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unveil.data.tables.cells import as_text
from unveil.errors import DataError

if TYPE_CHECKING:
    import pyarrow

DIGITS = Context(prec=76)
"""As many as Arrow's decimals have."""


def arrow(path: Path) -> dict[str, pyarrow.ChunkedArray]:
    """All columns of a Parquet file, of whatever type."""
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None)
    except Exception:  # pyarrow raises half a dozen foreign types for damaged files
        raise DataError(f"{path} is damaged: not all of its columns can be read; write it anew") from None
    return dict(zip(table.column_names, table.columns, strict=True))


def written(path: Path, name: str, column: pyarrow.ChunkedArray) -> list[str]:
    """A column's cells as a CSV file has them."""
    import pyarrow

    try:
        if pyarrow.types.is_temporal(column.type):
            column = column.cast(pyarrow.string())
        return [as_text(value) for value in column.to_pylist()]
    except Exception:
        raise DataError(
            f"{path}: column {name!r} ({column.type}) cannot be written as text; give an --out that ends in .parquet"
        ) from None


def refilled(
    columns: Mapping[str, pyarrow.ChunkedArray], filled: Mapping[str, Sequence[Any]], known: Mapping[str, np.ndarray]
) -> dict[str, pyarrow.ChunkedArray]:
    """The same columns, but with the cells of `filled` where they are not `known`, in the types that they have.

    Args:
        columns: of the file.
        filled: name to N cells, numbers or words; whole numbers in a column of those are rounded.
        known: name to (N,) bool, for the same names.
    """
    import pyarrow

    result = dict(columns)
    for name, there in known.items():
        if there.all():
            continue
        kind = columns[name].type
        if pyarrow.types.is_null(kind):  # which holds nothing but gaps
            result[name] = pyarrow.chunked_array([pyarrow.array(filled[name])])
            continue
        cells = zip(columns[name].to_pylist(), filled[name], there, strict=True)
        mended = [old if kept else _as(pyarrow, kind, new) for old, new, kept in cells]
        result[name] = pyarrow.chunked_array([pyarrow.array(mended, kind)])
    return result


def _as(pyarrow: Any, kind: pyarrow.DataType, cell: Any) -> Any:
    """A number or word as a value of an Arrow type, the nearest that it has."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return cell == "true"
    if types.is_floating(kind):
        return np.float16(cell) if types.is_float16(kind) else float(cell)
    if types.is_integer(kind):
        least = -(2 ** (kind.bit_width - 1)) if types.is_signed_integer(kind) else 0
        return min(max(round(float(cell)), least), least + 2**kind.bit_width - 1)
    if types.is_decimal(kind):
        step = Decimal(1).scaleb(-kind.scale)
        most = DIGITS.subtract(Decimal(10) ** (kind.precision - kind.scale), step)
        return min(max(Decimal(str(float(cell))), -most), most).quantize(step, context=DIGITS)
    return str(cell)
