"""What a person reads of a record: a table of names and values under a title, and what these suggest."""

from __future__ import annotations

from collections.abc import Sequence


def told(title: str, table: Sequence[tuple[str, str]], advice: Sequence[str]) -> list[str]:
    """Lines: the table under its title, and a sentence of advice each."""
    width = max([28, *(len(name) + 2 for name, _ in table)])
    rows = [f"{name:{width}}{value}" for name, value in table]
    return [*(["", title] if title else []), *rows, *(f"-> {sentence}" for sentence in advice)]
