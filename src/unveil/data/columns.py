"""The columns of a table by their kinds: what each admits, and how a kind is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unveil.errors import DataError, unknown
from unveil.words import counted


@dataclass(frozen=True)
class Column:
    """What one column of a table holds.

    Attributes:
        kind: 'real', 'positive', 'count', 'ordinal' or 'categorical'.
        classes: of the last two, how many; 0 for the others.
    """

    kind: str
    classes: int = 0


@dataclass(frozen=True)
class Field:
    """A column by its name.

    Attributes:
        name: as its source calls it.
        kind: as `column` reads it: 'real', 'positive', 'count', 'ordinal:5' or 'categorical:3'.
        words: what the classes 0, 1, 2, ... are called; empty where they have no names.
        decimals: most decimals that its source writes a number with; None where that is not known. It says nothing of what
            the numbers mean, and makes no other data set.
    """

    name: str
    kind: str
    words: tuple[str, ...] = ()
    decimals: int | None = field(default=None, repr=False, compare=False)


def _whole(x: Tensor, most: float) -> Tensor:
    return (x == x.round()) & (x >= 0) & (x <= most)


ADMITTED: dict[str, tuple[Callable[[Tensor, int], Tensor], str]] = {
    "real": (lambda x, classes: torch.isfinite(x), "finite numbers"),
    "positive": (lambda x, classes: (x > 0) & torch.isfinite(x), "numbers above 0"),
    "count": (lambda x, classes: _whole(x, 2**24), "whole numbers from 0 to 2**24"),
    "ordinal": (lambda x, classes: _whole(x, classes - 1), "whole numbers from 0 to classes - 1"),
    "categorical": (lambda x, classes: _whole(x, classes - 1), "whole numbers from 0 to classes - 1"),
}
"""Every kind of column: which entries it admits, and that in words."""
CLASSED = ("ordinal", "categorical")
"""The kinds that say how many classes they have: 'ordinal:5'."""


def column(text: str) -> Column:
    """The column that is written as 'real', 'positive', 'count', 'ordinal:5' or 'categorical:3'.

    Raises:
        SettingError: there is no such kind.
        DataError: a number of classes is missing, too small, or given to a kind that has none.
    """
    kind, colon, count = text.partition(":")
    if kind not in ADMITTED:
        raise unknown("kind of column", kind, ADMITTED)
    if (kind in CLASSED) != bool(colon):
        raise DataError(f"a column cannot be {text!r}; write {kind + ':5' if kind in CLASSED else kind!r}")
    if colon and (not count.isdecimal() or int(count) < 2):
        raise DataError(f"a column {text!r} has no classes to tell apart; give a number of at least 2, as in '{kind}:5'")
    return Column(kind, int(count or 0))


def check_columns(values: Tensor, columns: Sequence[str], name: str) -> None:
    """See that every entry of `values` (N, D) is one that its column admits, or NaN.

    Raises:
        DataError: another number of columns, or entries that a column does not admit.
    """
    if values.dim() != 2 or values.shape[1] != len(columns):
        raise DataError(
            f"{name} has shape {tuple(values.shape)}; named: {counted(len(columns), 'column')}, so give (N, {len(columns)})"
        )
    for place, text in enumerate(columns):
        one = column(text)
        admits, words = ADMITTED[one.kind]
        known = values[:, place][~values[:, place].isnan()]
        if wrong := int((~admits(known, one.classes)).sum()):
            raise DataError(f"{name} has {wrong} entries in column {place} that are not {text}: {words}")
