"""Rows that are read when they are asked for, because all of them together are more than memory is to hold.

A `Source` reads any of its rows; a `Store` is some of them in some order, as a tensor (N, *event) would be of which only
`store[which]` is ever in memory. `store[:]` reads all. Whatever takes `Stored` therefore writes `values[which]`, which for
a tensor costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.errors import DataError
from unveil.hardware import exceeds, gigabytes

CHUNK = 10_000
"""Most rows read at a time by whoever goes through all of them."""
NUMBERS = 784 * CHUNK
"""Most numbers read at a time by the same."""
ROOM = 0.25
"""Share of the memory that rows may fill, as floats, when somebody asks for many at once."""
READERS = 2
"""Threads that read ahead for whoever goes through all rows."""


@dataclass(frozen=True)
class Blocks:
    """Rows that lie together, so that it costs little to read them near in time.

    Attributes:
        starts: (S + 1,) int64, the first row of each block, and behind the last one the number of rows.
        sizes: (S,) int64, bytes of each block.
    """

    starts: Tensor
    sizes: Tensor


class Source(Protocol):
    """What reads rows.

    Attributes:
        name: what messages call it.
        event_shape: of one row.
        dtype: of what is read.
        blocks: how rows lie together; None where any order costs the same.
        hashes: (N, 16) uint8, a hash of what each row's values are, where one was made when all were looked at; else None.
    """

    name: str
    event_shape: tuple[int, ...]
    dtype: torch.dtype
    blocks: Blocks | None
    hashes: Tensor | None

    def read(self, places: Tensor) -> Tensor:
        """(n, *event) the rows `places` (n,) int64, in that order; called by several threads at once."""


@dataclass(frozen=True, eq=False)
class Store:
    """Some rows of a source, as a tensor (N, *event) of which only what is asked for is read.

    Attributes:
        source: what reads.
        places: (N,) int64, which of its rows.
    """

    source: Source
    places: Tensor
    device = torch.device("cpu")

    @property
    def shape(self) -> torch.Size:
        """(N, *event)."""
        return torch.Size((len(self.places), *self.source.event_shape))

    @property
    def dtype(self) -> torch.dtype:
        """Of what is read."""
        return self.source.dtype

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: int | slice | Tensor) -> Tensor:
        """The rows at these positions, read.

        Raises:
            DataError: more at once than memory has room for.
        """
        if isinstance(which, int):
            return self.source.read(self.places[which].reshape(1))[0]
        places = self.places[which]
        needed = 4 * len(places) * prod(self.source.event_shape)
        if exceeds(needed, ROOM):
            raise DataError(
                f"{len(places):,} examples of {self.source.name} at once are {gigabytes(needed)} as floats, more than "
                "memory has room for beside the work; ask for fewer of them"
            )
        return self.source.read(places)

    def take(self, rows: Tensor) -> Store:
        """The rows at these positions, not read."""
        return Store(self.source, self.places[rows])

    @cached_property
    def by_block(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, those of each block together; (S + 1,) where those of each begin; and (S,) bytes of each block."""
        blocks = self.source.blocks
        if blocks is None:
            return torch.arange(len(self)), torch.tensor([0, len(self)]), torch.tensor([0])
        block = torch.bucketize(self.places, blocks.starts[1:], right=True)
        counts = torch.bincount(block, minlength=len(blocks.sizes))
        return block.argsort(stable=True), torch.cat([counts.new_zeros(1), counts.cumsum(0)]), blocks.sizes


Stored: TypeAlias = Tensor | Store
"""Values (N, *event) in memory, or read when they are asked for."""


def taken(values: Stored, rows: Tensor) -> Stored:
    """The rows at positions `rows`: of a tensor a copy, of a store not read."""
    return values[rows] if isinstance(values, Tensor) else values.take(rows)


def joined(parts: Sequence[Stored]) -> Stored:
    """All rows of several, one after another."""
    stores = [part for part in parts if isinstance(part, Store)]
    if stores and len(stores) == len(parts) and all(one.source is stores[0].source for one in stores):
        return Store(stores[0].source, torch.cat([one.places for one in stores]))
    return torch.cat([part[:] for part in parts])


def spans(shape: Sequence[int]) -> list[slice]:
    """All rows of what has this shape in their order, some at a time."""
    size = max(1, min(CHUNK, NUMBERS // max(1, prod(shape[1:]))))
    return [slice(first, first + size) for first in range(0, shape[0], size)]


def chunks(values: Stored) -> Iterator[Tensor]:
    """All rows in their order, some at a time, read."""
    parts = spans(values.shape)
    workers = 0 if isinstance(values, Tensor) else READERS
    read = Ahead(lambda k: values[parts[k]], workers, len(parts))
    yield from map(read, range(len(parts)))
