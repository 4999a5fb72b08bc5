"""Rows of one kind, as they came, and how they are read: in part, in order, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.batch import Batch
from unveil.data.reading import Reading
from unveil.data.store import Store, Stored, chunks, taken
from unveil.errors import DataError
from unveil.randomness import generator
from unveil.words import counted


@dataclass(frozen=True)
class Split:
    """Rows of one kind, as they came.

    Attributes:
        name: 'train', 'validation' or 'test'.
        values: (N, *event) stored values, in memory or read when asked for: bytes for images, floats for real data, NaN
            where a table has a gap.
        labels: (N,) int64 or None.
        rows: (N,) int64, each example's row in its source.
        reading: how stored values become x.
        context: (N, C) what a conditional model is given, or None.
        labelled: (N,) bool, whose context is known to a semi-supervised model; None for all.
        factors: (N, F) int64, what each example was made from, where that is known; None else. No model sees them.
        files: N names of files below the source's folder, where each example has one of its own; None else.
    """

    name: str
    values: Stored
    labels: Tensor | None
    rows: Tensor
    reading: Reading
    context: Tensor | None = None
    labelled: Tensor | None = None
    factors: Tensor | None = None
    files: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: Tensor) -> Split:
        """The rows at positions `rows` (int64), in that order."""
        optional = {name: pick(getattr(self, name), rows) for name in ("labels", "context", "labelled", "factors")}
        files = None if self.files is None else tuple(self.files[row] for row in rows.tolist())
        moved: dict[str, Any] = {**optional, "files": files}
        return replace(self, values=taken(self.values, rows), rows=self.rows[rows], **moved)

    def sample(self, n: int | None, seed: int) -> Split:
        """`n` rows drawn without replacement as a function of `seed`, in their order; all of them for None."""
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise DataError(f"{counted(n, 'example')} cannot be drawn from the {self.name} split; ask for 1 to {len(self)}")
        chosen = torch.randperm(len(self), generator=generator(seed, "subset", self.name))[:n]
        return self.subset(chosen.sort().values)

    @property
    def told(self) -> bool:
        """Whether a model is given the labels of some rows."""
        return self.context is not None and (self.labelled is None or bool(self.labelled.any()))

    def untold(self) -> Split:
        """The same rows without their labels for a model that can do without: nats are then of x in every row."""
        return self if self.labelled is None else replace(self, labelled=torch.zeros_like(self.labelled))

    def mean(self) -> Tensor:
        """(*event) the mean of x over all rows in which it is known, float32; 0 where it is in none."""
        return self._mean.clone()

    @cached_property
    def _mean(self) -> Tensor:
        total = torch.zeros(self.values.shape[1:], dtype=torch.float64)
        count = torch.zeros(self.values.shape[1:] if self.gaps else (), dtype=torch.int64)
        for chunk in chunks(self.values):
            x = self.reading.mean(chunk)
            if self.gaps:
                known = ~x.isnan()
                count += known.sum(0)
                x = torch.where(known, x, 0.0)
            else:
                count += len(x)
            total += x.sum(0).double()
        return total.div(count.clamp(min=1)).float()

    def spread(self) -> float:
        """The standard deviation of an entry of real x about its mean, pooled over entries; 1 where they are constant."""
        mean, squares = self.mean().double(), torch.zeros(self.values.shape[1:], dtype=torch.float64)
        for chunk in chunks(self.values):
            squares += (self.reading.mean(chunk).double() - mean).square().sum(0)
        pooled = float(squares.div(len(self)).mean().sqrt())
        return pooled if 0 < pooled < inf else 1.0

    @cached_property
    def gaps(self) -> bool:
        """Whether it is a table in which something is unknown: such entries are NaN."""
        if self.reading.measure != "columns" or not isinstance(self.values, Tensor):
            return False
        return bool(self.values.isnan().any())

    def in_memory(self) -> Split:
        """The same rows, read.

        Raises:
            DataError: more than memory has room for.
        """
        return self if isinstance(self.values, Tensor) else replace(self, values=self.values[:])

    def to(self, device: torch.device) -> Split:
        """The same rows with all that a batch is made of on `device`, but for values that are read when asked for."""

        def moved(column: Tensor | None) -> Tensor | None:
            return None if column is None else column.to(device)

        context, labelled = moved(self.context), moved(self.labelled)
        values = self.values.to(device) if isinstance(self.values, Tensor) else self.values
        return replace(self, values=values, context=context, labelled=labelled)

    def fixed(self, seed: int) -> Tensor:
        """(N, *event) one reading of each row that depends on (seed, row) alone, float32 on the CPU.

        Whoever asks with the same seed sees the same binarised image, whatever subset or batch it stands in.
        """
        if not self.reading.random:
            return self.reading(self.values[:])
        return torch.stack(
            [
                self.reading(value, generator(seed, "reading", self.name, row))
                for value, row in zip(self.values[:], self.rows.tolist(), strict=True)
            ]
        )

    def batches(self, size: int, seed: int, workers: int = 0) -> Iterator[Batch]:
        """All rows in their order, `size` at a time, as `fixed` reads them.

        Where they are not in memory, `workers` threads read ahead.
        """
        count = -(-len(self) // size)

        def part_of(place: int) -> Split:
            return self.subset(torch.arange(place * size, min((place + 1) * size, len(self)))).in_memory()

        for part in map(Ahead(part_of, workers, count), range(count)):
            yield Batch(part.fixed(seed), part.rows, len(self), context=part.context, labelled=part.labelled)

    def digest(self) -> bytes:
        """SHA-256 over shapes, types, values, labels and factors; what a split does not have adds nothing."""
        hash = hashlib.sha256()
        for tensor in (self.values, self.labels, self.factors):
            if tensor is not None:
                hash.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
                for chunk in self._hashed() if isinstance(tensor, Store) else (tensor,):
                    hash.update(chunk.contiguous().numpy().reshape(-1).view("uint8").data)
        return hash.digest()

    def _hashed(self) -> Iterator[Tensor]:
        """What stands for values that are not in memory: their hashes where there are some, else they themselves."""
        assert isinstance(self.values, Store)
        known = self.values.source.hashes
        yield from chunks(self.values) if known is None else (known[self.values.places],)


def pick(column: Tensor | None, rows: Tensor) -> Tensor | None:
    """The entries at positions `rows` of a column that may be missing."""
    return None if column is None else column[rows]
