"""Which rows become train, validation and test, where a source names its splits and where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unveil.data.split import Split
from unveil.errors import DataError
from unveil.randomness import generator
from unveil.words import counted

GIVEN = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"} | {
    "test": "test",
    "testing": "test",
}
"""Names that sources have for splits."""
HELD_OUT = (0.1, 0.1)
"""Shares of the rows that become validation and test where the source does not say."""


def named(said: Sequence[str | None]) -> dict[str, Tensor]:
    """Positions of the rows of each split, from what is said of each row: nothing where one is of none, or none trains."""
    if None in said or not {"train", "test"} & set(said):
        return {}
    return {name: torch.tensor([place for place, one in enumerate(said) if one == name]) for name in set(said) if name}


def parted(whole: Split, given: Mapping[str, Tensor]) -> tuple[Split, Split, Split]:
    """Train, validation and test of all rows: as given, and the rest carved from train.

    Args:
        whole: every row.
        given: positions of the rows of each split that the source names; nothing where it names none.

    Raises:
        DataError: too few rows to carve from.
    """
    rows = dict(given)
    rest = rows.get("train", torch.arange(len(whole)) if not rows else torch.tensor([], dtype=torch.int64))
    missing = [name for name in ("validation", "test") if name not in rows]
    parts = carve(len(rest), *HELD_OUT[: len(missing)]) if missing else (torch.arange(len(rest)),)
    for name, part in zip([*missing, "train"], parts, strict=True):
        rows[name] = rest[part]
    train, validation, test = (replace(whole.subset(rows[name]), name=name) for name in ("train", "validation", "test"))
    return train, validation, test


def carve(n: int, *shares: float) -> tuple[Tensor, ...]:
    """Split rows 0..n-1 into disjoint parts of the given shares and the rest, by one fixed permutation.

    The permutation depends on n alone, so that a dataset has the same splits in every run, whatever its seed. Each part
    is sorted, and every share of at least one row is kept.
    """
    order = torch.randperm(n, generator=generator("splits", n))
    counts = [max(1, round(share * n)) for share in shares]
    if sum(counts) >= n:
        raise DataError(
            f"{counted(n, 'example')} cannot be parted for training, validation and test; give at least {len(shares) + 1}"
        )
    parts = torch.split(order, [*counts, n - sum(counts)])
    return tuple(part.sort().values for part in parts)
