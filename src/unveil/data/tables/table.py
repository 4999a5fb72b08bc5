"""A table from a file as a `Dataset`: which columns there are, of which kind, and what splits and labels are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.data.columns import Field
from unveil.data.dataset import Dataset
from unveil.data.reading import Plain
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import GIVEN, named, parted
from unveil.data.tables.cells import Cells, shown
from unveil.data.tables.kinds import LeftOutError, as_field, coded, guessed, listed, remarks, strangers
from unveil.data.tables.parquet import read_parquet
from unveil.data.tables.text import read_csv
from unveil.errors import DataError, option, unknown

log = logging.getLogger(__name__)

READERS = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet}
SUFFIXES = tuple(READERS)
"""Endings of files that are read as tables."""


@dataclass(frozen=True)
class How:
    """How a table is read, where it is to be otherwise than its cells suggest.

    Attributes:
        columns: kinds of columns, as in age=real zip=categorical: real, positive, count, ordinal or categorical.
        drop: names of columns to leave out.
        label: name of a column that holds labels, which is no part of x.
        split: name of a column that says which rows train, validate and test.
    """

    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    label: str | None = None
    split: str | None = None

    def dropped(self) -> tuple[str, ...]:
        """Names of the columns to leave out, of which Python may give a single one as it is."""
        return (self.drop,) if isinstance(self.drop, str) else tuple(self.drop)

    def kinds(self) -> dict[str, str]:
        """Kind of each column that one was given for, as NAME=KIND or, in Python, by a mapping."""
        if isinstance(self.columns, Mapping):
            return {str(name): str(kind) for name, kind in self.columns.items()}
        found = {}
        given = (self.columns,) if isinstance(self.columns, str) else self.columns
        for part in (part for text in given for part in _pairs(text)):
            name, equals, kind = part.rpartition("=")
            if not (equals and name and kind):
                raise DataError(f"{part!r} gives no column a kind; write NAME=KIND, as in age=real")
            found[name] = kind
        return found


def _pairs(text: str) -> list[str]:
    """'a=real,b=count' is two; a comma in a name is none."""
    parts = text.split(",")
    return parts if all("=" in part for part in parts) else [text]


@dataclass(frozen=True)
class Known:
    """What is known of a table that was read before.

    Attributes:
        columns: the ones to read, in this order.
        classes: names of the labels.
        strangers: whether rows with a class that its column does not have are taken, as `Dataset.strange`.
        unlabelled: whether all rows are taken without labels, and this is said, where some have none or one of no class.
    """

    columns: tuple[Field, ...]
    classes: tuple[str, ...]
    strangers: bool = False
    unlabelled: bool = False


def read(path: Path, drop: Sequence[str] = (), only: Sequence[str] | None = None) -> list[Cells]:
    """The columns of a file as text, but those in `drop`, or those in `only` that are there."""
    return READERS[path.suffix.lower()](path, drop, only)


def from_table(path: Path, measure: Measure | None = None, how: How = How(), known: Known | None = None) -> Dataset:
    """A dataset of typed columns from a `.csv`, `.tsv` or `.parquet` file.

    Args:
        path: the file.
        measure: None, or 'columns': what a table is.
        how: what is to be otherwise than the cells suggest.
        known: of the table that a model was trained on: this one is read in its columns, and labels and splits are taken
            where they are there.

    Raises:
        DataError: no such file, one that is no table, or one whose columns are not as they should be.
    """
    if measure not in (None, "columns"):
        raise DataError(
            f"{path} is a table, whose columns have a kind each; give --columns NAME=KIND, not {option('measure', measure)}"
        )
    if not path.is_file():
        there = "is a folder; name a file in it" if path.is_dir() else "is not there; check the name"
        raise DataError(f"the table {path} {there}")
    only = None if known is None else [*(field.name for field in known.columns), how.label or "", how.split or ""]
    return from_cells(str(path), read(path, how.dropped(), only), how, known)


def from_cells(
    source: str,
    columns: Iterable[Cells],
    how: How = How(),
    known: Known | None = None,
    held: Mapping[str, Tensor] | None = None,
) -> Dataset:
    """A dataset of the columns of a table, which were read already.

    Args:
        source: what messages call the table.
        columns: all of them but those to drop.
        how: as for `from_table`.
        known: likewise.
        held: positions of the rows of each split; None for those that a column says, or else a tenth each.

    Raises:
        DataError: the columns are not as they should be.
    """
    table = {cells.name: cells for cells in columns}
    if known is None:
        for name in (*how.kinds(), *filter(None, (how.label, how.split))):
            if name not in table:
                raise unknown(f"column of {source}", name, table, DataError)
    label, split = table.pop(how.label or "", None), table.pop(how.split or "", None)
    found = _guessed(source, list(table.values()), how.kinds()) if known is None else _as_known(source, table, known)
    hints = [_may_split(cells) for cells in table.values() if known is None and split is None and _names_splits(cells)]
    values = torch.from_numpy(np.stack(found.values, 1).astype(np.float32))
    classes, labels = _labels(label, known)
    whole = Split("all", values, labels, torch.arange(len(values)), Plain("columns"))
    if held is None:
        held = {} if split is None else named(_splits(split))
    train, validation, test = parted(whole, held)
    unseen = [] if known is not None else list(_unseen(found.fields, whole, train))
    asked = {"columns": how.kinds(), "drop": list(how.dropped()), "label": how.label, "split": how.split}
    options = {name: value for name, value in asked.items() if value}
    return Dataset(
        source,
        Space((len(found.fields),), "columns", columns=tuple(field.kind for field in found.fields)),
        train,
        validation,
        test,
        classes=classes,
        columns=tuple(found.fields),
        options=options,
        notes=(*found.notes, *hints, *unseen, *_gaps(found)),
        strange=found.strange,
    )


@dataclass(frozen=True)
class _Found:
    fields: list[Field]
    values: list[np.ndarray]
    notes: list[str]
    strange: dict[int, str] = field(default_factory=dict)


def _guessed(source: str, table: Sequence[Cells], kinds: Mapping[str, str]) -> _Found:
    found = _Found([], [], [])
    wrong: list[tuple[str, DataError]] = []
    for cells in table:
        kind = kinds.get(cells.name)
        try:
            field, values = guessed(cells) if kind is None else as_field(cells, kind)
        except LeftOutError as error:
            if kind is not None:
                raise DataError(f"{source}: column {cells.name!r} cannot be {kind}: {error}; or --drop it") from None
            found.notes.append(f"column {cells.name!r} is left out: {error}")
            continue
        except DataError as error:
            wrong.append((cells.name, error))
            continue
        found.fields.append(field)
        found.values.append(values)
    if wrong:
        others = ", ".join(repr(name) for name, _ in wrong[1:])
        raise DataError(f"{wrong[0][1]}{f'; cells to correct are also in: {others}' if others else ''}")
    if not found.fields:
        raise DataError(
            f"{source} has no column to learn from: {'; '.join(found.notes) or 'all are labels, splits or dropped'}"
        )
    found.notes.extend(remarks(found.fields, np.stack(found.values, 1)))
    return found


def _as_known(source: str, table: Mapping[str, Cells], known: Known) -> _Found:
    found = _Found(list(known.columns), [], [])
    for one in known.columns:
        if one.name not in table:
            raise DataError(f"{source} has no column {one.name!r}, which the model reads; give a table that has it")
        cells, strange = strangers(table[one.name], one) if known.strangers else (table[one.name], {})
        found.values.append(coded(cells, one))
        for row, words in strange.items():
            found.strange[row] = f"{found.strange[row]}; {words}" if row in found.strange else words
    return found


def _labels(cells: Cells | None, known: Known | None) -> tuple[tuple[str, ...], Tensor | None]:
    """Names of the classes, and each row's number."""
    if cells is None:
        return () if known is None else known.classes, None
    classes = () if known is None else known.classes
    field = Field(cells.name, f"categorical:{len(classes)}", classes) if classes else None
    if (wrong := _no_label(cells, field)) is not None:
        if known is None or not known.unlabelled:
            raise DataError(f"{wrong}; write its class there, or remove the row")
        log.warning("%s; all rows are taken as unlabelled, for this model needs no labels", wrong)
        return classes, None
    try:
        field = field or as_field(cells, "categorical")[0]
    except LeftOutError as error:
        raise DataError(f"{cells.source}: column {cells.name!r} cannot be the label: {error}") from None
    return field.words, torch.from_numpy(coded(cells, field)).long()


def _no_label(cells: Cells, field: Field | None) -> str | None:
    """Where a label is missing, or is none of the classes of `field`, in words; None where all are as they should be."""
    if cells.missing.any():
        line = cells.lines[int(np.argmax(cells.missing))]
        return f"{cells.source}, {cells.unit} {line}: column {cells.name!r} is the label, and says nothing"
    strange = {} if field is None else strangers(cells, field)[1]
    if field is None or not strange:
        return None
    place = int(cells.codes[min(strange)])
    return f"{cells.at(place)} is the label, and holds {shown(cells.words[place])}, which is none of {listed(field.words)}"


def _splits(cells: Cells) -> list[str]:
    """The split of each row."""
    for place, word in enumerate(cells.words):
        if word.lower() not in GIVEN:
            raise DataError(f"{cells.at(place)} is the split and holds {shown(word)}; write train, validation or test")
    return [GIVEN[cells.words[code].lower()] for code in cells.codes.tolist()]


def _names_splits(cells: Cells) -> bool:
    """Whether all that a column says is what splits are called."""
    words = {cells.words[place].lower() for place in cells.known}
    return len({GIVEN[word] for word in words if word in GIVEN}) > 1 and words <= set(GIVEN)


def _may_split(cells: Cells) -> str:
    words = ", ".join(cells.words[place] for place in cells.known)
    return (
        f"column {cells.name!r} holds {words} alone, and is a part of x to be learnt: where it says which rows train, give "
        f"{option('split', cells.name)}; else {option('drop', cells.name)} leaves it out"
    )


def _unseen(fields: Sequence[Field], whole: Split, train: Split) -> Iterator[str]:
    """Classes that held-out rows alone have: kinds and classes are those of all rows."""
    for place, one in enumerate(fields):
        if not one.words:
            continue
        some = [set(split.values[:][:, place].nan_to_num(-1).unique().long().tolist()) for split in (whole, train)]
        if unseen := [one.words[code] for code in sorted(some[0] - some[1]) if code >= 0]:
            listed = ", ".join(unseen[:8]) + (", ..." if len(unseen) > 8 else "")
            yield f"column {one.name!r} has classes that no training row has, of which the model learns nothing: {listed}"


def _gaps(found: _Found) -> Iterator[str]:
    """How many cells are missing, and where."""
    counts = {field.name: int(np.isnan(values).sum()) for field, values in zip(found.fields, found.values, strict=True)}
    total, rows = sum(counts.values()), len(found.values[0])
    if total:
        some = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
        listed = ", ".join(f"{name} {counts[name]:,}" for name in some[:8]) + (", ..." if len(some) > 8 else "")
        yield f"{total:,} of {rows * len(counts):,} cells are missing and integrated out, by column: {listed}"


def read_like(path: Path, facts: Mapping[str, Any], strangers: bool = False, unlabelled: bool = False) -> Dataset:
    """A table read as the one was that a manifest tells of; `strangers` and `unlabelled` as for `Known`."""
    columns = tuple(
        Field(one["name"], one["kind"], tuple(one["words"]), one.get("decimals")) for one in facts.get("columns", ())
    )
    if not columns:
        raise DataError(f"the run was not trained on a table, so it cannot read {path}; give what it was trained on")
    classes, options = tuple(facts["class_names"]), facts["options"]
    how = How(label=options.get("label"), split=options.get("split"))
    return replace(from_table(path, None, how, Known(columns, classes, strangers, unlabelled)), loadable=True)
