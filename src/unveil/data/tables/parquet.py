"""Parquet files: columns with types, of which a table takes numbers, texts, and truth values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unveil.data.tables.cells import Cells, cells_of
from unveil.data.tables.text import check_names
from unveil.errors import DataError, option
from unveil.hardware import exceeds, gigabytes

if TYPE_CHECKING:
    import pyarrow

ROOM = 0.5
"""Share of the memory that the rows of a table may fill."""
CODE, NUMBER = 8, 64
"""Bytes of a row in each column, and of those in the column that is being read, which are Python's."""


def read_parquet(path: Path, skip: Collection[str] = (), only: Collection[str] | None = None) -> list[Cells]:
    """The columns of a Parquet file but those in `skip`, or those in `only` that are there, whatever the others hold.

    Raises:
        DataError: a file that is none, pyarrow is missing, or a column of a type that is no cell of a table.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path} needs pyarrow, which is not installed; pip install pyarrow, or save it as CSV") from None
    try:
        schema = parquet.read_schema(path)
    except Exception:  # pyarrow raises half a dozen foreign types for damaged files
        raise DataError(f"{path} is no Parquet file, or a damaged one; write it anew, or save it as CSV") from None
    names = check_names(path, list(schema.names), skip)
    wanted = [name for name in names if name not in skip and (only is None or name in only)]
    _check_types(path, pyarrow, {name: schema.field(name).type for name in wanted})
    try:
        text = [name for name in wanted if not _fixed(pyarrow, schema.field(name).type)]
        if exceeds(needed := _needed(path, len(wanted)), ROOM):
            raise DataError(f"{path} has rows of {gigabytes(needed)}, more than memory has room for; give some of them")
        table = parquet.read_table(path, columns=wanted, read_dictionary=text)
        columns = [_column(str(path), name, table.column(name)) for name in wanted]
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path} has more in it than memory has room for; give some of its rows") from None
    except Exception:
        raise DataError(f"{path} is damaged: not all of its columns can be read; write it anew") from None
    if wanted and not len(columns[0]):
        raise DataError(f"{path} has no rows; give at least one")
    return columns


def _check_types(path: Path, pyarrow: Any, kinds: Mapping[str, pyarrow.DataType]) -> None:
    """See that all columns have types that are cells of a table; an error names all that have not.

    Raises:
        DataError: some have not.
    """
    refused = {name: what for name, kind in kinds.items() if (what := _refused(pyarrow, kind)) is not None}
    if not refused:
        return
    said = ", ".join(f"column {name!r} holds {what}" for name, what in refused.items())
    way = f"give {option('drop', tuple(refused))}, or write {'it' if len(refused) == 1 else 'them'} as numbers or words"
    if any(_images(pyarrow, kinds[name]) for name in refused):
        way = f"if these are images, give the folder that it lies in, {path.parent}; else {option('drop', tuple(refused))}"
    raise DataError(f"{path}: {said}; {way}")


def _images(pyarrow: Any, kind: pyarrow.DataType) -> bool:
    """Whether a column holds files: bytes, or a struct with some, as shards have them."""
    types = pyarrow.types
    kinds = [field.type for field in kind] if types.is_struct(kind) else [kind]
    return any(types.is_binary(one) or types.is_large_binary(one) for one in kinds)


def _needed(path: Path, columns: int) -> int:
    """Bytes that the rows take while they are read, however few a file needs to say that all are alike."""
    from pyarrow import parquet

    return int(parquet.read_metadata(path).num_rows) * (CODE * columns + NUMBER)


def _fixed(pyarrow: Any, kind: pyarrow.DataType) -> bool:
    """Whether all cells of a type take the same room; others are read as a dictionary, which holds each once."""
    types = pyarrow.types
    return bool(types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind) or types.is_dictionary(kind))


def _refused(pyarrow: Any, kind: pyarrow.DataType) -> str | None:
    """What a column holds that is no cell of a table; None for what is."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind):
        return f"nested values ({kind})"
    if types.is_temporal(kind):
        return f"dates or times ({kind})"
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    text = (types.is_string, types.is_large_string, *([types.is_string_view] if hasattr(types, "is_string_view") else []))
    return None if any(is_one(kind) for is_one in (*plain, *text)) else f"values of type {kind}"


def _column(path: str, name: str, column: pyarrow.ChunkedArray) -> Cells:
    """Its values as a CSV file would have them."""
    return cells_of(path, name, (value for part in column.chunks for value in _cells(part)))


def _cells(part: Any) -> Iterable[Any]:
    """The values of a part of a column; those of a dictionary are made once."""
    import pyarrow

    if not isinstance(part, pyarrow.DictionaryArray):
        return part.to_pylist()
    words = part.dictionary.to_pylist()
    return (None if place is None else words[place] for place in part.indices.to_pylist())
