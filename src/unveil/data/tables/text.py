"""CSV files: cells between commas, semicolons, tabs or bars, under a line of names."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.tables.cells import Cells, as_number, shown
from unveil.errors import DataError, unknown
from unveil.words import counted

DELIMITERS = ",;\t|"


def read_csv(path: Path, skip: Collection[str] = (), only: Collection[str] | None = None) -> list[Cells]:
    """The columns of a CSV file but those in `skip`, or those in `only` that are there.

    Raises:
        DataError: a file that cannot be read, that is not UTF-8, has no header, or rows of another length than it.
    """
    text = _text(path)
    first = text[: text.find("\n") + 1] or text
    bare = re.sub(r'"[^"]*"', "", first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=bare.count), strict=True)
    rows = _rows(path, reader)
    lines = array("q")
    names = check_names(path, [name.strip() for name in next(rows, (1, []))[1]], skip)
    index: list[dict[str, int]] = [{} for _ in names]
    codes = [array("i") for _ in names]
    columns = list(zip(index, codes, strict=True))
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: {counted(len(row), 'cell')} under {counted(len(names), 'name')}; give each row a "
                "cell for each "
                "name, and put quotes around cells that hold the delimiter"
            )
        lines.append(line)
        for (known, column), cell in zip(columns, row, strict=True):
            column.append(known.setdefault(cell.strip(), len(known)))
    if not lines:
        raise DataError(f"{path} has no rows below its header; give at least one")
    places = np.array(lines)
    return [
        Cells(str(path), name, list(known), np.array(column), places)
        for name, (known, column) in zip(names, columns, strict=True)
        if name not in skip and (only is None or name in only)
    ]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; look at its permissions") from None
    if not content.strip():
        raise DataError(f"{path} is empty; give a header of names and rows below it")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is written in UTF-16; save it as UTF-8")
    if (place := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise DataError(f"{path}, line {line}: there is a NUL byte, so this is no text; save the table as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {content[error.start]:#x} is not UTF-8; save the file as UTF-8"
        ) from None


def _rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with its first line; what the csv module has against one, in other words."""
    while True:
        begun = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = "the quotes do not match up; close each, and write one inside a quoted cell twice"
            if "field larger" in str(error):
                most = csv.field_size_limit()
                what = f"a cell is longer than {most:,} characters; look for a quote that is never closed"
            raise DataError(f"{path}, line {begun}: {what}") from None
        if row:
            yield begun, row


def check_names(path: Path, names: list[str], skip: Collection[str]) -> list[str]:
    """The names of the columns, among which those in `skip` are.

    Raises:
        DataError: there are none, one stands for two columns, or is missing.
    """
    if not any(names):
        raise DataError(f"{path} has no names in its first line; give a header, and rows below it")
    if all(as_number(name) is not None for name in names):
        raise DataError(f"{path} has no header: its first line begins with {shown(names[0])}; name the columns there")
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise DataError(
                f"{path}: column {place + 1} has no name; name it, or leave it out, as an index need not be there"
            )
        if (before := first.setdefault(name, place)) < place:
            both = f"columns {before + 1} and {place + 1} are both named {shown(name)}"
            raise DataError(f"{path}: {both}; name each differently")
    for name in skip:
        if name not in first:
            raise unknown(f"column of {path}", name, names, DataError)
    return names
