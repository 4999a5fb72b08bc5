"""The command that fills the gaps of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unveil.cli import options
from unveil.cli.common import ending, open_run, require_parquet, save_table, start
from unveil.cli.parsing import parse
from unveil.data.columns import CLASSED, Field, column
from unveil.errors import DataError

FEW = 10
"""Effective draws below which an expectation is doubtful."""


def impute(arguments: list[str]) -> int:
    """`unveil impute`."""
    given = parse(options.Impute, "impute", arguments)
    start()
    from unveil import generation
    from unveil.data.tables import SUFFIXES, by_name, read

    ending(given.out, (".csv", ".parquet"))
    require_parquet(given.out)
    run, data = open_run(given.run, given.data, None, given.out)
    path = Path(data.name)
    if not data.columns or path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{data.name} is no table from a file, so it has no gaps to fill; give a .csv or .parquet file")
    whole = data.whole()
    found = generation.impute(run.model, whole, given.samples, given.seed)
    filled, fields = by_name(found.x, data.columns), {field.name: field for field in data.columns}
    table = {}
    for cells in read(path):
        known = [None if gone else cells.words[code] for code, gone in zip(cells.codes, cells.missing, strict=True)]
        field = fields.get(cells.name)
        if field is not None:
            known = [one if cell is None else cell for cell, one in zip(known, filled[field.name], strict=True)]
        table[cells.name] = known if given.out.suffix == ".csv" else [_typed(cell, field) for cell in known]
    save_table(given.out, table)
    gaps = whole.values[:].isnan()
    rows = gaps.any(1)
    print(
        f"{int(gaps.sum()):,} cells in {int(rows.sum()):,} of {len(rows):,} rows filled in {given.out} by what the model "
        f"expects, K = {given.samples}, seed {given.seed}"
    )
    if doubtful := int((found.ess[rows] < FEW).sum()):
        print(f"-> {doubtful:,} of these rows have fewer than {FEW} effective draws: take more --samples")
    return 0


def _typed(cell: Any, field: Field | None) -> Any:
    """A cell of a column that is a number, or a word."""
    if cell is None or field is None or column(field.kind).kind in CLASSED:
        return cell if cell is None else str(cell)
    return float(cell)
