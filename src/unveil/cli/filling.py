"""The command that fills the gaps of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unveil.cli import options
from unveil.cli.common import ending, open_run, require_parquet, save_table, start
from unveil.cli.parsing import parse
from unveil.data.columns import CLASSED, Field, column
from unveil.errors import DataError
from unveil.words import counted

FEW = 10
"""Effective draws below which an expectation is doubtful."""


def impute(arguments: list[str]) -> int:
    """`unveil impute`."""
    given = parse(options.Impute, "impute", arguments)
    start()
    from unveil import generation
    from unveil.data import load_like
    from unveil.data.tables import SUFFIXES, by_name

    ending(given.out, (".csv", ".parquet"))
    require_parquet(given.out)
    run, data = open_run(given.run, given.data, None, given.out)
    if not run.columns:
        raise DataError(
            f"{given.run} was not trained on a table, and so fills no gaps; train on a .csv or .parquet file first"
        )
    path = Path(data.name)
    if not data.columns or path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{data.name} is no table from a file, so it has no gaps to fill; give a .csv or .parquet file")
    if given.data is None:  # without the rows of other files that were held out
        data = run.suited(load_like(data.name, run.manifest["data"]))
    whole = data.whole()
    found = generation.impute(run.model, whole, given.samples, given.seed)
    gaps = whole.values[:].isnan()
    known = {field.name: ~gone.numpy() for field, gone in zip(data.columns, gaps.T, strict=True)}
    _write(
        path, given.out, {field.name: field for field in data.columns}, by_name(found.x, data.columns, written=True), known
    )
    rows = gaps.any(1)
    print(
        f"{counted(int(gaps.sum()), 'cell')} in {int(rows.sum()):,} of {counted(len(rows), 'row')} filled in {given.out} "
        "by what the model "
        f"expects, K = {given.samples}, seed {given.seed}"
    )
    if doubtful := int((found.ess[rows] < FEW).sum()):
        print(f"-> {doubtful:,} of these rows have fewer than {FEW} effective draws: take more --samples")
    return 0


def _write(
    path: Path,
    out: Path,
    fields: Mapping[str, Field],
    filled: Mapping[str, Sequence[Any]],
    known: Mapping[str, np.ndarray],
) -> None:
    """The table at `path` with another cell where one of the model's columns is not `known`, and nothing else changed."""
    from unveil.data.tables import arrow, read, refilled, written

    if path.suffix.lower() != ".parquet":
        as_text = {cells.name: [cells.words[code] for code in cells.codes.tolist()] for cells in read(path)}
    elif out.suffix == ".parquet":
        save_table(out, refilled(arrow(path), filled, known))
        return
    else:
        as_text = {name: written(path, name, cells) for name, cells in arrow(path).items()}
    for name, there in known.items():
        as_text[name] = [old if kept else new for old, new, kept in zip(as_text[name], filled[name], there, strict=True)]
    if out.suffix == ".parquet":
        as_text = {name: [_typed(cell, fields.get(name)) for cell in cells] for name, cells in as_text.items()}
    save_table(out, as_text)


def _typed(cell: Any, field: Field | None) -> Any:
    """A cell of a column that is a number, or a word; None where nothing is written."""
    if field is None or column(field.kind).kind in CLASSED:
        return None if cell == "" else str(cell)
    return float(cell)
