"""Of which kind a column is, as its cells suggest or as a person says, and its values as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation

import numpy as np

from unveil.data.columns import CLASSED, Field, column
from unveil.data.tables.cells import NUMERIC, Cells, as_number, shown
from unveil.errors import DataError, unknown
from unveil.words import counted, number

KINDS = ("real", "positive", "count", "ordinal", "categorical")
"""What a person may say of a column."""
CODE = re.compile(r"[-+]?0\d")
"""How codes begin that look like numbers."""
MOST_CLASSES = 100
"""Of a column of words: one with more of them names its rows, or is a text."""
MOST_ASKED = 1_000
"""The same where a person says that they are classes."""
FEW = 20
"""Rows, and different numbers, from which on they tell what a column is."""
LEVELS = 12
"""Whole numbers from 1 to at most this one, of which none is missing, are a scale: marks, stars, months."""
LARGE = 10_000
"""A count that is larger than this is better a real number."""
LARGEST = 2**24
"""Single precision holds no larger whole number exactly."""
SMALLEST = 1e-37
"""Single precision holds no smaller number with all its digits, and the logarithm of 0 is none."""
LOST = 1e-3
"""Share of a standard deviation that single precision may round by."""
FAR = 100.0
"""Interquartile ranges from the median beyond which a number is perhaps a code, as -9999 is."""
POINT = 0.05
"""Share of the rows that hold one and the same number, from which on a density has a point to fall into."""


class LeftOutError(Exception):
    """A column that tells nothing, with the reason."""


def guessed(cells: Cells) -> tuple[Field, np.ndarray]:
    """The column and its values (N,), NaN where nothing is known.

    Words are classes, in sorted order. Whole numbers are classes where there are two of them, ordinal where they are all
    from 1 to a small one, as counts without a 0 seldom are, counts where they are small and vary at least about as much as
    counts do, ordinal where there are few, and real else, as all other numbers.

    Raises:
        LeftOutError: it is constant, or names the rows.
        DataError: it mixes words and numbers, or holds numbers that are none here.
    """
    known, texts = cells.known, cells.texts
    if len(known) < 2:
        raise LeftOutError("it has no values" if not known else f"it is constant ({shown(cells.words[known[0]])})")
    if len(texts) == len(known) and not all(NUMERIC.fullmatch(cells.words[place]) for place in texts):
        total = int(cells.counts[known].sum())
        if len(known) > MOST_CLASSES or (total >= FEW and len(known) > total / 2):
            raise LeftOutError(
                f"it has {len(known):,} different words in {counted(total, 'row')}, and so names them or is a text"
            )
        return as_field(cells, "categorical")
    values = cells.values()  # which says what is wrong with a column of both
    seen = values[~np.isnan(values)]
    if not np.ptp(seen):
        raise LeftOutError(f"it is constant ({number(seen[0])})")
    whole = bool((seen == np.round(seen)).all()) and seen.min() >= 0 and seen.max() <= LARGEST
    if not whole:
        return as_field(cells, "real")
    different = len(np.unique(seen))
    if different == len(seen) >= FEW and np.ptp(seen) == len(seen) - 1:
        raise LeftOutError("it numbers the rows")
    if different == 2:
        return as_field(cells, "categorical")
    if len(seen) >= FEW and seen.min() == 1 and seen.max() == different <= LEVELS:
        return as_field(cells, "ordinal")
    if seen.max() <= LARGE and seen.var() >= seen.mean() / 2:
        return as_field(cells, "count")
    return as_field(cells, "ordinal" if different <= FEW else "real")


def as_field(cells: Cells, kind: str) -> tuple[Field, np.ndarray]:
    """The column as one of that kind, and its values (N,), NaN where nothing is known.

    Raises:
        LeftOutError: it is constant, or its numbers are too much alike for single precision.
        DataError: cells that this kind does not admit.
    """
    if kind not in KINDS:
        raise unknown(f"kind of column for {cells.name!r}", kind, KINDS, DataError)
    if len(cells.known) < 2:
        raise LeftOutError("it is constant, or empty")
    if kind in CLASSED:
        words = _classes(cells, kind)
        field = Field(cells.name, f"{kind}:{len(words)}", words)
    else:
        field = Field(cells.name, kind)
    values = coded(cells, field)
    if not np.nanmax(values) > np.nanmin(values):  # '1' and '1.0' are one number
        raise LeftOutError("it is constant")
    if kind == "real":
        _check_precision(values)
    return field if field.words else replace(field, decimals=_decimals(cells)), values


def _decimals(cells: Cells) -> int:
    """Most decimals that a number of the column is written with."""
    exponents = (Decimal(cells.words[place]).as_tuple().exponent for place in cells.known)
    return max((-exponent for exponent in exponents if isinstance(exponent, int) and exponent < 0), default=0)


def _classes(cells: Cells, kind: str) -> tuple[str, ...]:
    """The words of a column as classes: numbers in their order, words in that of the alphabet."""
    words = _apart([cells.words[place] for place in cells.known])
    if len(words) > MOST_ASKED:
        raise DataError(
            f"{cells.source}: column {cells.name!r} has {len(words):,} different values; classes are at most 1,000"
        )
    if not cells.texts:
        return tuple(sorted(words, key=lambda word: (as_number(word), word)))
    if kind == "ordinal":
        raise DataError(
            f"{cells.at(cells.texts[0])} holds {shown(cells.words[cells.texts[0]])}, and the order of words is not known; "
            "write their places as numbers, or take it as categorical"
        )
    return tuple(sorted(words))


def _apart(words: Sequence[str]) -> list[str]:
    """Of the words that are one number, as 1 and 1.0 are, the shortest; and all others."""
    shortest: dict[Decimal | str, str] = {}
    for word in sorted(words, key=lambda word: (len(word), word)):
        shortest.setdefault(_meant(word), word)
    return list(shortest.values())


def _meant(word: str) -> Decimal | str:
    """The number that a class is written as, exactly; the word itself where it is none, or a code as 007 is."""
    if as_number(word) is None or CODE.match(word):
        return word
    try:
        return Decimal(word)
    except InvalidOperation:
        return word


def coded(cells: Cells, field: Field) -> np.ndarray:
    """(N,) float64 the values of a column that is known already, NaN where nothing is known.

    Raises:
        DataError: cells that it does not admit, such as a class that it does not have.
    """
    one = column(field.kind)
    if one.kind in CLASSED:
        return _numbered(cells, field)
    values = cells.values()
    wrong = {"positive": values < SMALLEST, "count": (values < 0) | (values > LARGEST) | (values != np.round(values))}
    bad = wrong.get(one.kind)
    if bad is not None and (bad & ~np.isnan(values)).any():
        place = int(cells.codes[int(np.argmax(bad & ~np.isnan(values)))])
        needs = f"numbers above {SMALLEST:g}" if one.kind == "positive" else f"whole numbers from 0 to {LARGEST:,}"
        raise DataError(
            f"{cells.at(place)} holds {shown(cells.words[place])}, and is to be {one.kind}, {needs}; correct it, or give "
            f"--columns {cells.name}=real"
        )
    return values


def _numbered(cells: Cells, field: Field) -> np.ndarray:
    number = _numbers(field)
    found = np.full(len(cells.words), np.nan)
    for place in cells.known:
        word = cells.words[place]
        code = number.get(word, number.get(_meant(word)))
        if code is None:
            raise DataError(
                f"{cells.at(place)} holds {shown(word)}, which is none of {listed(field.words)}; leave the cell empty to "
                "have it taken as unknown"
            )
        found[place] = code
    return found[cells.codes]


def listed(words: Sequence[str]) -> str:
    """The classes of a column, the first of them by name."""
    return f"its classes ({', '.join(words[:8])}{', ...' if len(words) > 8 else ''})"


def _numbers(field: Field) -> dict[Decimal | str, float]:
    """The number of each class, by its word and by what that means: a program that writes 1 as 1.0 means the same class."""
    plain: dict[Decimal | str, float] = {word: float(place) for place, word in enumerate(field.words)}
    return {_meant(word): float(place) for place, word in enumerate(field.words)} | plain


def strangers(cells: Cells, field: Field) -> tuple[Cells, dict[int, str]]:
    """A column with gaps in place of classes that it does not have, and in which rows these stand, each in words.

    A class that no row of the first table had has no probability under a model of that: such a row is no example of it.
    """
    number = _numbers(field)
    if column(field.kind).kind not in CLASSED:
        return cells, {}
    strange = {
        place: f"unknown class {shown(word)} in {field.name}"
        for place, word in ((place, cells.words[place]) for place in cells.known)
        if word not in number and _meant(word) not in number
    }
    rows = np.flatnonzero(np.isin(cells.codes, list(strange)))
    words = ["" if place in strange else word for place, word in enumerate(cells.words)]
    return replace(cells, words=words), {int(row): strange[int(cells.codes[row])] for row in rows}


def _check_precision(values: np.ndarray) -> None:
    """See that numbers that differ still do in single precision."""
    seen = values[~np.isnan(values)]
    spread, largest = float(seen.std()), float(np.abs(seen).max())
    if np.spacing(np.float32(largest)) > LOST * spread or spread < 1e-30:
        raise LeftOutError(
            f"its numbers, around {number(seen.mean(), 3)} and {number(spread, 2)} apart, are hardly told apart in single "
            "precision; "
            "subtract a constant, or take another unit"
        )


def remarks(fields: Sequence[Field], values: np.ndarray) -> list[str]:
    """What a person should know of columns with numbers far out, and of those whose density falls into a point."""
    said = []
    for field, seen in zip(fields, values.T, strict=True):
        if field.kind in ("real", "positive"):
            known = seen[~np.isnan(seen)]
            low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
            far = known[np.argmax(np.abs(known - middle))]
            if abs(far - middle) > FAR * (high - low) > 0:
                said.append(
                    f"column {field.name!r} reaches {number(far)}, and half of its numbers lie between {number(low)} and "
                    f"{number(high)}: "
                    "leave cells empty where such a number stands for one that is missing"
                )
            numbers, counts = np.unique(known, return_counts=True)
            if len(counts) and counts.max() > max(POINT * counts.sum(), 2):
                share, place = counts.max() / counts.sum(), numbers[counts.argmax()]
                said.append(
                    f"column {field.name!r} is {number(place)} in {share:.0%} of its rows: a density can rise there "
                    "without end, "
                    f"and its nats fall; --columns '{field.name}=ordinal' gives probabilities instead"
                )
    return said
