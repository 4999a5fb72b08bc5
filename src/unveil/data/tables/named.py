"""Numbers back to what they stand for: columns by name, classes as the words they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from unveil.data.columns import CLASSED, Field, column


def by_name(x: Tensor, fields: Sequence[Field], written: bool = False) -> dict[str, list[Any]]:
    """What a writer of CSV or Parquet takes, name to N cells: words, whole numbers or real ones, None for a gap.

    Args:
        x: (N, D), as in a batch.
        fields: D.
        written: whether numbers are to have no more decimals than their column has in its source, as cells beside its own.
    """
    return {field.name: _cells(values, field, written) for field, values in zip(fields, x.cpu().numpy().T, strict=True)}


def _cells(values: np.ndarray, field: Field, written: bool) -> list[Any]:
    known = ~np.isnan(values)
    whole = np.where(known, values, 0).round()
    if column(field.kind).kind in CLASSED:
        codes = whole.clip(0, column(field.kind).classes - 1).astype(np.int64).tolist()
        cells: list[Any] = [field.words[code] for code in codes] if field.words else codes
    elif column(field.kind).kind == "count" and bool((whole == values)[known].all()):
        cells = whole.astype(np.int64).tolist()
    else:
        cells = values.astype(str).astype(np.float64).tolist()  # the shortest decimals that give the same single precision
        if written and field.decimals is not None:
            cells = [
                _as_written(cell, field, field.decimals) if there else cell
                for cell, there in zip(cells, known, strict=True)
            ]
    return [cell if there else None for cell, there in zip(cells, known.tolist(), strict=True)]


def _as_written(cell: float, field: Field, decimals: int) -> float:
    """The nearest number of so many decimals that the column admits; a whole one where there are none."""
    if field.kind == "positive":
        cell = max(cell, 10.0**-decimals)  # 0 would be none
    return round(cell, decimals) if decimals else round(cell)
