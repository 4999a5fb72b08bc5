"""The batch: the first record of the seam. Sources fill it, models read it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The other parts of a step's batch, made by other processes or at another time by this one."""

    @property
    def place(self) -> slice:
        """Where among the examples of the whole batch those of this part are."""
        ...

    def gather(self, values: Tensor, dim: int) -> Tensor:
        """`values`, which have an example in each place along `dim`, of all parts one after another, with gradient."""
        ...

    def stack(self, values: Tensor) -> Tensor:
        """(parts, *shape) `values` (*shape) of all parts, with gradient."""
        ...


@dataclass(frozen=True)
class Batch:
    """B examples, and what is known about them.

    Attributes:
        x: (B, *event) float, finite but for the gaps of a table: an entry of which nothing is known is NaN, so that whoever
            forgets about gaps gets NaN and never a figure of a value that somebody filled in.
        index: (B,) int64, row in the split they come from.
        size: N, rows in the training set.
        context: (B, C) what the model is conditioned on; None for an unconditional model.
        labelled: (B,) bool: which examples carry their label; None where that plays no part.
        peers: the rest of a step's batch, where this is a part of one; None where this is all of it.
    """

    x: Tensor
    index: Tensor
    size: int
    context: Tensor | None = None
    labelled: Tensor | None = None
    peers: Peers | None = None

    @property
    def observed(self) -> Tensor:
        """Like x, bool: which entries are data."""
        return ~self.x.isnan()

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]
