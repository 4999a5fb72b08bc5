"""What stands in a table's cells, as text, column by column; a word that stands in many cells is kept once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isnan, nan
from typing import Any

import numpy as np

from unveil.errors import DataError

MISSING = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "?"))
"""Cells that say that nothing is known."""
LARGEST = 1e37
"""Numbers must be smaller than this one, so that their squares and differences can be scaled in single precision."""
NUMERIC = re.compile(r"[+-]?\d{1,3}(?:[., '\u00a0\u202f]\d{3})+(?:[.,]\d+)?|[+-]?\d+,\d+|[+-]?\d+,\d+[eE][+-]?\d+")
"""Numbers as people write them, with separators or a decimal comma, that are no numbers here."""


@dataclass(frozen=True, eq=False)
class Cells:
    """One column.

    Attributes:
        source: what messages call the table.
        name: of the column.
        words: the different cells that it has, without the space around them.
        codes: (N,) int, which of them stands in each row.
        lines: (N,) int, where each row stands in the source.
        unit: 'line' or 'row', what those count.
    """

    source: str
    name: str
    words: Sequence[str]
    codes: np.ndarray
    lines: np.ndarray
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def numbers(self) -> list[float | None]:
        """What each word is as a number: NaN where it is missing, None where it is none."""
        return [as_number(word) for word in self.words]

    @cached_property
    def missing(self) -> np.ndarray:
        """(N,) bool: which rows say nothing."""
        return np.array([one is not None and isnan(one) for one in self.numbers], bool)[self.codes]

    @cached_property
    def counts(self) -> np.ndarray:
        """In how many rows each word stands."""
        return np.bincount(self.codes, minlength=len(self.words))

    @property
    def known(self) -> list[int]:
        """Which of the words say something."""
        return [place for place, one in enumerate(self.numbers) if one is None or not isnan(one)]

    @property
    def texts(self) -> list[int]:
        """Which of the words are no numbers."""
        return [place for place, one in enumerate(self.numbers) if one is None]

    def at(self, place: int) -> str:
        """Where the word at `place` among `words` first stands."""
        return f"{self.source}, {self.unit} {self.lines[int(np.argmax(self.codes == place))]}: column {self.name!r}"

    def values(self) -> np.ndarray:
        """(N,) float64, NaN where nothing is known.

        Raises:
            DataError: a word that is no number, or one that is too large.
        """
        if texts := self.texts:
            raise self._no_number(texts)
        numbers = np.array(self.numbers, np.float64)
        large = np.flatnonzero(np.abs(numbers) > LARGEST)
        if len(large):
            word = shown(self.words[large[0]])
            what = (
                "which is not finite" if np.isinf(numbers[large[0]]) else f"and numbers here are smaller than {LARGEST:g}"
            )
            raise DataError(f"{self.at(large[0])} holds {word}, {what}; correct it, or leave the cell empty")
        return numbers[self.codes]

    def _no_number(self, texts: Sequence[int]) -> DataError:
        first = min(texts, key=lambda place: int(np.argmax(self.codes == place)))
        word = self.words[first]
        if NUMERIC.fullmatch(word):
            return DataError(
                f"{self.at(first)} holds {shown(word)}; write numbers with a decimal point and no separators, as in 1234.5"
            )
        numeric = next((place for place, one in enumerate(self.numbers) if one is not None and not isnan(one)), None)
        beside = "" if numeric is None else f" beside numbers as {shown(self.words[numeric])}"
        return DataError(
            f"{self.at(first)} holds {shown(word)}{beside}; correct it, leave the cell empty if it is unknown, or give "
            f"--columns '{self.name}=categorical' or --drop '{self.name}'"
        )


def cells_of(source: str, name: str, values: Iterable[Any]) -> Cells:
    """A column of numbers, texts, truth values and None, as a CSV file would have them."""
    known: dict[Any, int] = {}
    codes = np.array([known.setdefault(value, len(known)) for value in values], np.int64)
    index: dict[str, int] = {}
    places = [index.setdefault(as_text(value), len(index)) for value in known]
    codes = np.array(places, np.int64)[codes] if places else codes
    return Cells(source, name, list(index), codes, np.arange(1, len(codes) + 1), "row")


def as_text(value: Any) -> str:
    """A value as a CSV file would have it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def as_number(word: str) -> float | None:
    """The number that a word is: NaN where it says that nothing is known, None where it is none."""
    if word in MISSING:
        return nan
    if "_" in word:  # Python's way to write a million, and nobody else's
        return None
    try:
        number = float(word)
        return None if isnan(number) else number  # Nan is a name
    except ValueError:
        return None
    except OverflowError:
        return inf


def shown(word: str, most: int = 40) -> str:
    """A cell as a message shows it."""
    return repr(word if len(word) <= most else word[: most - 3] + "...")
