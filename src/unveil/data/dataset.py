"""A dataset is three splits in one space. The test split stays apart: nothing here or elsewhere selects on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from unveil.data.batch import Batch
from unveil.data.reading import Reading
from unveil.data.space import Space
from unveil.errors import DataError
from unveil.randomness import generator


@dataclass(frozen=True)
class Split:
    """Rows of one kind, in memory as they came.

    Attributes:
        name: 'train', 'validation' or 'test'.
        values: (N, *event) stored values: bytes for images, floats for real data.
        labels: (N,) int64 or None.
        rows: (N,) int64, each example's row in its source.
        reading: how stored values become x.
    """

    name: str
    values: Tensor
    labels: Tensor | None
    rows: Tensor
    reading: Reading

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: Tensor) -> Split:
        """The rows at positions `rows` (int64), in that order."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, values=self.values[rows], labels=labels, rows=self.rows[rows])

    def sample(self, n: int | None, seed: int) -> Split:
        """`n` rows drawn without replacement as a function of `seed`, in their order; all of them for None."""
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise DataError(f"{n} examples cannot be drawn from the {self.name} split; ask for 1 to {len(self)}")
        chosen = torch.randperm(len(self), generator=generator(seed, "subset", self.name))[:n]
        return self.subset(chosen.sort().values)

    def mean(self) -> Tensor:
        """(*event) the mean of x over all rows, float32."""
        chunks = self.values.split(10_000)
        return torch.stack([self.reading.mean(chunk).sum(0).double() for chunk in chunks]).sum(0).div(len(self)).float()

    def to(self, device: torch.device) -> Split:
        """The same rows with their values on `device`."""
        return replace(self, values=self.values.to(device))

    def fixed(self, seed: int) -> Tensor:
        """(N, *event) one reading of each row that depends on (seed, row) alone, float32 on the CPU.

        Whoever asks with the same seed sees the same binarised image, whatever subset or batch it stands in.
        """
        if not self.reading.random:
            return self.reading(self.values)
        return torch.stack(
            [
                self.reading(value, generator(seed, "reading", self.name, row))
                for value, row in zip(self.values, self.rows.tolist(), strict=True)
            ]
        )

    def batches(self, size: int, seed: int) -> Iterator[Batch]:
        """All rows in their order, `size` at a time, in the reading of `fixed`."""
        for start in range(0, len(self), size):
            part = self.subset(torch.arange(start, min(start + size, len(self))))
            yield Batch(x=part.fixed(seed), index=part.rows, size=len(self))

    def digest(self) -> bytes:
        """SHA-256 over shapes, types, values and labels."""
        hash = hashlib.sha256()
        for tensor in (self.values, self.labels):
            if tensor is not None:
                hash.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
                hash.update(tensor.contiguous().numpy().reshape(-1).view("uint8").data)
        return hash.digest()


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test in one space.

    Attributes:
        name: what `unveil.load` was asked for.
        space: event shape and base measure of x.
        train: what the weights are fitted to.
        validation: a part of the training split, kept back to choose the best weights.
        test: looked at by `evaluate` alone.
        attribution: whose data they are, and under which licence; empty where unknown.
        loadable: whether `unveil.load(name)` gives them again.
    """

    name: str
    space: Space
    train: Split
    validation: Split
    test: Split
    attribution: str = ""
    loadable: bool = False
    splits: tuple[str, ...] = field(default=("train", "validation", "test"), init=False, repr=False)

    def split(self, name: str) -> Split:
        """The split of that name; DataError names the three for any other."""
        if name not in self.splits:
            raise DataError(f"there is no split {name!r}; known: {', '.join(self.splits)}")
        split: Split = getattr(self, name)
        return split

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the space and every split: the same only for the same values in the same order."""
        digests = b"".join(self.split(name).digest() for name in self.splits)
        return hashlib.sha256(str(self.space).encode() + digests).hexdigest()

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.split(name)):,} {name}" for name in self.splits)
        return f"{self.name}: {counts}; {self.space}"


def carve(n: int, *shares: float) -> tuple[Tensor, ...]:
    """Split rows 0..n-1 into disjoint parts of the given shares and the rest, by one fixed permutation.

    The permutation depends on n alone, so that a dataset has the same splits in every run, whatever its seed. Each part
    is sorted, and every share of at least one row is kept.
    """
    order = torch.randperm(n, generator=generator("splits", n))
    counts = [max(1, round(share * n)) for share in shares]
    if sum(counts) >= n:
        raise DataError(f"{n} examples are too few for training, validation and test; give at least {len(shares) + 1}")
    parts = torch.split(order, [*counts, n - sum(counts)])
    return tuple(part.sort().values for part in parts)
