"""Which rows train, validate and test: as their source says, or as a fixed permutation does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unveil.data.dataset import Split, carve

GIVEN = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"} | {
    "test": "test",
    "testing": "test",
}
"""What sources call the splits."""
HELD_OUT = (0.1, 0.1)
"""Shares of the rows that become validation and test where the source does not say."""


def divided(whole: Split, said: Sequence[str | None]) -> tuple[Split, Split, Split]:
    """Train, validation and test.

    What is not given is carved from train, a tenth each, by a permutation that depends on the number of its rows alone.

    Args:
        whole: all rows.
        said: the split of each row, 'train', 'validation' or 'test'. They are as good as unsaid where a row has none, or
            where neither train nor test are among them.
    """
    rows: dict[str, Tensor] = {}
    if {"train", "test"} & set(said) and None not in said:
        rows = {name: torch.tensor([place for place, one in enumerate(said) if one == name]) for name in set(said) if name}
    rest = rows.get("train", torch.arange(len(whole)) if not rows else torch.tensor([], dtype=torch.int64))
    missing = [name for name in ("validation", "test") if name not in rows]
    parts = carve(len(rest), *HELD_OUT[: len(missing)]) if missing else (torch.arange(len(rest)),)
    for name, part in zip([*missing, "train"], parts, strict=True):
        rows[name] = rest[part]
    train, validation, test = (replace(whole.subset(rows[name]), name=name) for name in ("train", "validation", "test"))
    return train, validation, test
