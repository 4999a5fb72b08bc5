"""Labels as files hold them: whole numbers, or names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Label: TypeAlias = int | str

MOST = 2**31
"""A number that is larger is no class."""
LONGEST = 100
"""Most characters of a class's name."""


def as_label(value: Any) -> Label | None:
    """A label from a file's number, truth value or text; None where it is neither a whole number nor a short name."""
    if isinstance(value, str):
        value = value.strip()
        if not 0 < len(value) <= LONGEST or not value.isprintable():
            return None
        if not value.removeprefix("-").isdecimal():
            return value
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and -MOST < value < MOST:
        return int(value)
    return None


Numbered: TypeAlias = tuple[tuple[str, ...], Tensor | None, str | None]


def numbered(labels: Sequence[Label | None], names: Sequence[str] = (), told: bool = False) -> Numbered:
    """Names of classes, (N,) int64 labels, and what is to be said of them.

    Where labels are names, the classes are numbered in the order of those. None are taken where an example has none.

    Args:
        labels: of each example.
        names: of the classes, where labels are numbers and the source has names for them.
        told: whether the source has something that is called a label.
    """
    missing = sum(label is None for label in labels)
    if missing:
        said = f"{missing:,} of {len(labels):,} images have no label, so none are taken"
        return (), None, said if missing < len(labels) or told else None
    if all(isinstance(label, int) for label in labels):
        return tuple(names), torch.tensor(labels, dtype=torch.int64), None
    found = sorted({str(label) for label in labels})
    number = {name: place for place, name in enumerate(found)}
    return tuple(found), torch.tensor([number[str(label)] for label in labels]), None
