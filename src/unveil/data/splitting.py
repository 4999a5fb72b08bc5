"""Which rows become train, validation and test, where a source names its splits and where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unveil.data.dataset import Split, carve

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
