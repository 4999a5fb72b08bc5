"""Rows of a table as requests give them: lists of cells, or objects of cells by the names of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unveil.data.columns import CLASSED, Field, column
from unveil.serving.fields import SINGLE, Schema, Value, listed, sized, wrong
from unveil.serving.refusal import shown

ENDS: dict[str, tuple[float, float]] = {"real": (-SINGLE, SINGLE), "positive": (1e-30, SINGLE), "count": (0, 2**24)}
"""Smallest and largest number that a kind of column takes."""


@dataclass(frozen=True)
class Rows(Value):
    """1 to `most` rows of a table, their cells in the order of the columns or by name: numbers, and the words of classes.

    Attributes:
        columns: of the table.
        most: rows.
        gaps: whether a cell may be null, of which nothing is known.
    """

    columns: Sequence[Field]
    most: int
    gaps: bool

    def read(self, given: Any, name: str) -> Tensor:
        sized(given, name, 1, self.most)
        return torch.tensor(
            [
                [self._cell(one, field) for one, field in zip(self._row(row, name), self.columns, strict=True)]
                for row in given
            ]
        )

    def _row(self, given: Any, name: str) -> list[Any]:
        """The cells of a row in the order of the columns; null where an object does not name a column."""
        if type(given) is not dict:
            sized(given, name, len(self.columns), len(self.columns))
            row: list[Any] = given
            return row
        names = [field.name for field in self.columns]
        if odd := set(given) - set(names):
            raise wrong(name, given, f"there is no column {shown(min(odd))}; known: {listed(names)}")
        if not self.gaps and (missing := [one for one in names if one not in given]):
            raise wrong(name, given, f"column {shown(missing[0])} is missing; give all of {listed(names)}")
        return [given.get(one) for one in names]

    def _cell(self, given: Any, field: Field) -> float:
        name = f"column {shown(field.name)}"
        if given is None and self.gaps:
            return float("nan")
        if field.words:
            if given not in field.words or type(given) is not str:
                raise wrong(name, given, f"give one of {listed(field.words)}")
            return float(field.words.index(given))
        whole, low, high = self._ends(field)
        if type(given) not in (int, float) or not low <= given <= high or (whole and given != int(given)):
            raise wrong(name, given, f"give a {'whole ' * whole}number from {low:g} to {high:.9g}{' or null' * self.gaps}")
        return float(given)

    @staticmethod
    def _ends(field: Field) -> tuple[bool, float, float]:
        kind = column(field.kind)
        if kind.kind in CLASSED:
            return True, 0, kind.classes - 1
        return kind.kind == "count", *ENDS[kind.kind]

    def schema(self) -> Schema:
        cells = list(map(self._schema_of, self.columns))
        names = [field.name for field in self.columns]
        row = {"type": "array", "prefixItems": cells, "items": False, "minItems": len(cells), "maxItems": len(cells)}
        by_name = {
            "type": "object",
            "properties": dict(zip(names, cells, strict=True)),
            "additionalProperties": False,
            **({} if self.gaps else {"required": names}),
        }
        return {"type": "array", "items": {"anyOf": [row, by_name]}, "minItems": 1, "maxItems": self.most}

    def _schema_of(self, field: Field) -> Schema:
        whole, low, high = self._ends(field)
        cell: Schema = {"type": "integer" if whole else "number", "minimum": low, "maximum": high}
        cell = {"type": "string", "enum": list(field.words)} if field.words else cell
        told = {"title": field.name}
        return {**told, "anyOf": [cell, {"type": "null"}]} if self.gaps else {**told, **cell}
