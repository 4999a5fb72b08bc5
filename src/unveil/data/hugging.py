"""Hugging Face's datasets: those in memory, and folders that `save_to_disk` wrote.

The package `datasets` is never imported here, so none of its code is found by a name in a file, and nothing is fetched:
what a person hands over has it already, and its folders are Arrow files beside notes in JSON, which are read as such. Only
bytes that lie in the table are decoded, and, of a dataset in memory, files of this machine that it names.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as Items

from unveil.data.dataset import Dataset
from unveil.data.images.decode import BadImageError, Blob
from unveil.data.images.encoded import stored
from unveil.data.images.how import USUAL, How, classes_said, notes
from unveil.data.images.reading import reading_of_images
from unveil.data.images.survey import survey
from unveil.data.items import by_split, from_items
from unveil.data.pick import ANY, Pick
from unveil.data.shards.labels import Label, as_label, numbered
from unveil.data.shards.parquet import class_names, needs_pyarrow
from unveil.data.shards.tar import LARGEST
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import parted
from unveil.errors import DataError
from unveil.words import counted

NOTES = 2**24
"""Most bytes of a note in JSON."""


@dataclass(frozen=True)
class Table:
    """One split.

    Attributes:
        name: what messages call it.
        columns: the Arrow type of each column.
        count: rows.
        cell: the entry of a column in a row.
        column: all entries of a column.
        names: of the classes of a column, where they have names.
        local: whether it may name files of this machine.
    """

    name: str
    columns: Mapping[str, Any]
    count: int
    cell: Callable[[str, int], Any]
    column: Callable[[str], Sequence[Any]]
    names: Callable[[str], tuple[str, ...]]
    local: bool


def is_hugging(source: Any) -> bool:
    """Whether it is a dataset of Hugging Face's, or several by the names of their splits."""
    first = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return type(first).__module__.partition(".")[0] == "datasets"


def holds_hugging(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def from_hugging(source: Any, measure: Measure | None = None, how: How = USUAL, pick: Pick = ANY) -> Dataset:
    """A dataset from one of Hugging Face's, from several by the names of their splits, or from a folder of either.

    A column of images is read as a folder of images is, in memory where that has room for it; a column of lists of numbers
    as an array is. Transforms and formats that were set on a dataset are not applied.

    Args:
        source: a `datasets.Dataset`, a `DatasetDict`, or the folder that `save_to_disk` wrote.
        measure: how x is read; None for the usual one.
        how: sizes, colours, and what to do about images that are none.
        pick: which columns are taken.

    Raises:
        DataError: no such columns, a damaged folder, a streaming dataset, or images that cannot be read.
    """
    needs_pyarrow()
    if isinstance(source, Path):
        name, tables = str(source), _saved(source)
    else:
        name, tables = type(source).__name__, _given(source)
    first = next(iter(tables.values()))
    image, label = pick.image(first.columns, first.name), pick.label(first.columns, first.name)
    for table in tables.values():
        if table.columns.get(image) != first.columns[image] or (label is not None and label not in table.columns):
            raise DataError(f"{table.name} has other columns than {first.name}; give splits that are alike")
    if not _is_image(first.columns[image]):
        return _numbers(name, tables, image, label, measure)
    shelf = Shelf(tables, image)
    seen = survey(shelf, how, name, {}, keep=True)
    marks = [mark for table in tables.values() for mark in _marks(table, label)]
    classes, labels, said = numbered(
        [marks[place] for place in seen.kept.tolist()], first.names(label) if label else (), label is not None
    )
    reading = reading_of_images(seen.frame.channels, seen.near, measure, name)
    values = stored(shelf, seen, name)
    whole = Split("all", values, labels, torch.arange(len(values)), reading)
    train, validation, test = parted(whole, shelf.given(seen.kept.numpy()))
    about = [classes_said(classes, "name")] if classes else []
    return Dataset(
        name,
        Space(tuple(values.shape[1:]), reading.measure),
        train,
        validation,
        test,
        classes=classes,
        options={**how.options(seen.frame), **pick.options()},
        notes=(*about, *([said] if said else []), *notes(seen.heads, seen.frame, 0)),
        bad=tuple(sorted(seen.bad.items())),
    )


class Shelf:
    """The images of all splits, by number.

    Args:
        tables: by split; '' where the splits are not known.
        image: the column.
    """

    def __init__(self, tables: Mapping[str, Table], image: str) -> None:
        self.splits, self.tables, self.image = list(tables), list(tables.values()), image
        self.ends = list(accumulate(table.count for table in self.tables))

    def __len__(self) -> int:
        return self.ends[-1]

    def _at(self, place: int) -> tuple[Table, int]:
        number = bisect_right(self.ends, place)
        return self.tables[number], place - (self.ends[number - 1] if number else 0)

    def blob(self, place: int) -> Path | Blob:
        """The bytes of an image, or its file."""
        table, row = self._at(place)
        found, name = table.cell(self.image, row), self.name(place)
        content, path = (found.get("bytes"), found.get("path")) if isinstance(found, Mapping) else (found, None)
        if not content and path and table.local and Path(path).is_file():
            return Path(path)
        if not content or len(content) > LARGEST:
            said = (
                f"it has {counted(len(content), 'byte')}, and {LARGEST:,} are read"
                if content
                else "the table holds no image"
            )
            raise BadImageError(name, said)
        return Blob(name, content)

    def name(self, place: int) -> str:
        """The split and the row in it."""
        table, row = self._at(place)
        return f"{table.name} row {row}"

    def blocks(self, places: np.ndarray) -> None:
        """Any row of a mapped table is as near as any other."""

    def given(self, places: np.ndarray) -> dict[str, torch.Tensor]:
        """Positions in `places` of the rows of each split that has a name."""
        number = torch.from_numpy(np.searchsorted(np.array(self.ends), places, side="right"))
        return {name: (number == k).nonzero().flatten() for k, name in enumerate(self.splits) if name}


def _marks(table: Table, label: str | None) -> list[Label | None]:
    """The label of each row; -1 stands for none, as it does where classes have names."""
    if label is None:
        return [None] * table.count
    marks = [as_label(value) for value in table.column(label)]
    return [None if mark == -1 else mark for mark in marks] if table.names(label) else marks


def _is_image(kind: Any) -> bool:
    """Whether a column of this Arrow type holds encoded images."""
    import pyarrow.types as types

    named = types.is_struct(kind) and "bytes" in [one.name for one in kind]
    return bool(named or types.is_binary(kind) or types.is_large_binary(kind))


@dataclass
class _Rows(Items):
    """The rows of a table as items of PyTorch's."""

    table: Table
    image: str
    labels: torch.Tensor | None

    def __len__(self) -> int:
        return self.table.count

    def __getitem__(self, row: int) -> tuple[Any, ...]:
        x = np.array(self.table.cell(self.image, row))
        return (x,) if self.labels is None else (x, self.labels[row])


def _numbers(name: str, tables: Mapping[str, Table], image: str, label: str | None, measure: Measure | None) -> Dataset:
    """Rows whose x are lists of numbers."""
    marks = [mark for table in tables.values() for mark in _marks(table, label)]
    classes, labels, said = numbered(marks, next(iter(tables.values())).names(label) if label else (), label is not None)
    parts = [None] * len(tables) if labels is None else labels.split([table.count for table in tables.values()])
    rows = {split: _Rows(table, image, part) for (split, table), part in zip(tables.items(), parts, strict=True)}
    found = from_items(rows.get("", rows), measure)
    options = Pick(image, label).options()
    return replace(found, name=name, classes=classes, options=options, notes=(said,) if said else ())


def _given(source: Any) -> dict[str, Table]:
    """The splits of what a person handed over."""
    if not isinstance(source, Mapping):
        return {"": _in_memory(source, "")}
    return by_split({name: _in_memory(one, name) for name, one in source.items()})


def _in_memory(dataset: Any, name: str) -> Table:
    if "iterable" in type(dataset).__module__:
        raise DataError(
            "a streaming dataset may fetch what it gives from a network; write it to a folder by save_to_disk or to_parquet"
        )
    rows, schema = dataset.with_format("arrow"), dataset.features.arrow_schema
    return Table(
        f"{type(dataset).__name__}{name and f' ({name})'}",
        {field.name: field.type for field in schema},
        len(dataset),
        lambda column, row: rows[row].column(column)[0].as_py(),
        lambda column: rows.select_columns(column)[:].column(column).to_pylist(),
        lambda column: tuple(getattr(dataset.features[column], "names", None) or ()),
        True,
    )


def _saved(folder: Path) -> dict[str, Table]:
    """The splits of a folder that `save_to_disk` wrote."""
    if not (folder / "dataset_dict.json").is_file():
        return {"": _mapped(folder)}
    names = _note(folder / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / 'dataset_dict.json'} names no splits; write the folder anew by save_to_disk")
    return {split: _mapped(folder / _plain(name, folder)) for split, name in by_split({one: one for one in names}).items()}


def _mapped(folder: Path) -> Table:
    """A table of Arrow files, which stay on the disk; its lengths and offsets are checked before any is followed."""
    import pyarrow

    state = _note(folder / "state.json")
    files = state.get("_data_files")
    if not isinstance(files, list) or not files or state.get("_indices_data_files"):
        raise DataError(f"{folder / 'state.json'} names no files of rows, or others; write the folder anew by save_to_disk")
    try:
        parts = []
        for one in files:
            with pyarrow.ipc.open_stream(pyarrow.memory_map(str(folder / _plain(one["filename"], folder)))) as stream:
                parts.append(stream.read_all())
        table = pyarrow.concat_tables(parts)
        table.validate(full=True)
        columns = {field.name: field.type for field in table.schema}
        for kind in columns.values():
            _is_image(kind)  # so that names that are no text are met here
    except DataError:
        raise
    except Exception:  # pyarrow raises a dozen foreign types for damaged files
        raise DataError(f"{folder} holds Arrow files that are damaged or missing; write it anew by save_to_disk") from None
    return Table(
        str(folder),
        columns,
        len(table),
        lambda column, row: table.column(column)[row].as_py(),
        lambda column: table.column(column).to_pylist(),
        lambda column: class_names(table.schema.metadata or {}, column),
        False,
    )


def _note(path: Path) -> dict[str, Any]:
    """A note in JSON."""
    try:
        if path.stat().st_size > NOTES:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path} cannot be read; write the folder anew by save_to_disk")
    return found


def _plain(name: Any, folder: Path) -> str:
    """A name that leads nowhere but into its folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or not name.isprintable() or set(name) & set("/\\"):
        raise DataError(f"{folder} names a part {str(name)[:60]!r} that lies elsewhere; write it anew by save_to_disk")
    return name
