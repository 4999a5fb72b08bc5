"""In which order an epoch visits the rows: a function of (seed, epoch), and of how the rows lie together.

Rows in memory, or in one mapped file, are visited by one permutation of all. Of shards only a few can be near at a time:
they are shuffled, and of their rows those of a *window* of shards in turn.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from unveil.data.store import Store
from unveil.randomness import generator

WINDOW = 2**28
"""Bytes of the blocks among which rows are shuffled, or one block where it is larger: 256 MiB."""


class Windows:
    """The order of one epoch over blocks. Any stretch of it is found without going through what comes before.

    Blocks are permuted by (seed, epoch); as many of them as hold `WINDOW` bytes are a window, whose rows are permuted by
    (seed, epoch, window).

    Args:
        store: the rows.
        seed: the run's seed.
        epoch: which epoch.
    """

    def __init__(self, store: Store, seed: int, epoch: int) -> None:
        self.seed, self.epoch = seed, epoch
        self.positions, self.firsts, sizes = store.by_block
        counts = self.firsts.diff()
        order = torch.randperm(len(counts), generator=generator(seed, "shards", epoch))
        self.blocks = order[counts[order] > 0]
        self.windows = _cut(sizes[self.blocks].tolist())
        rows = counts[self.blocks].cumsum(0)
        self.ends = torch.tensor([int(rows[last - 1]) for _, last in self.windows])
        self._window = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, which: slice) -> Tensor:
        """Positions of the visits from `which.start` to `which.stop`, int64."""
        start, stop = which.start, min(which.stop, int(self.ends[-1]))
        parts = []
        for number in range(int(torch.searchsorted(self.ends, start, right=True)), len(self.windows)):
            first = int(self.ends[number - 1]) if number else 0
            if first >= stop:
                break
            parts.append(self._window(number)[max(start - first, 0) : stop - first])
        return torch.cat(parts) if parts else torch.tensor([], dtype=torch.int64)

    def _shuffled(self, number: int) -> Tensor:
        first, last = self.windows[number]
        rows = torch.cat([self.positions[self.firsts[block] : self.firsts[block + 1]] for block in self.blocks[first:last]])
        return rows[torch.randperm(len(rows), generator=generator(self.seed, "order", self.epoch, number))]


def _cut(sizes: list[int]) -> list[tuple[int, int]]:
    """Stretches of blocks that hold at most `WINDOW` bytes, or one block."""
    windows, first, held = [], 0, 0
    for place, size in enumerate(sizes):
        if place > first and held + size > WINDOW:
            windows.append((first, place))
            first, held = place, 0
        held += size
    return [*windows, (first, len(sizes))] if sizes else []
