"""Numbers and counts as every message writes them: 26,460 and never 2.646e+04, 1 file and 2 files."""

from __future__ import annotations

from math import floor, isfinite, log10

PLAIN = (1e-6, 1e15)
"""Sizes between which a number has no exponent: beyond them nobody counts the zeros."""


def number(value: float, digits: int = 6) -> str:
    """A number to so many significant digits, zeros at the end left out; what stands before the point stands in whole."""
    size = abs(value)
    if not isfinite(value) or (size and not PLAIN[0] <= size < PLAIN[1]):
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - floor(log10(size))) if size else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def counted(count: float, one: str, several: str | None = None) -> str:
    """So many of something: '1 file', '0 files', '2,000 files'; `several` where that is not `one` with an s."""
    return f"{number(count)} {one if abs(count) == 1 else several or one + 's'}"
