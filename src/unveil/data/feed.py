"""What the training loop eats: batches as a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.batch import Batch
from unveil.data.dataset import Split, pick
from unveil.data.order import Windows
from unveil.data.store import Store
from unveil.errors import SettingError
from unveil.randomness import generator


@lru_cache(maxsize=2)
def order(n: int, seed: int, epoch: int) -> Tensor:
    """The permutation of 0..n-1 in which epoch `epoch` visits the rows, (n,) int64."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


class Feed:
    """Shuffled batches of a split, each a function of (seed, step).

    What is in memory lies on the device. What is not is read for each step, by threads that are a few steps ahead.

    An epoch visits floor(N / B) full batches; which rows the remainder leaves out changes from epoch to epoch, so every
    row is visited equally often in the mean and every gradient is a mean over the same number of examples.

    Args:
        split: what to train on; moved to `device` as it is stored.
        batch_size: B; a split smaller than that gives one batch of all its rows.
        seed: the run's seed.
        device: where the batches are made.
        workers: threads that read ahead; they decide nothing but speed.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, device: torch.device, workers: int = 0) -> None:
        if len(split) == 0:
            raise SettingError("the training split is empty; give data with at least one row")
        self.split = split.to(device)
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.device = device
        self.steps_per_epoch = len(split) // self.batch_size
        self._windows = lru_cache(maxsize=2)(self._order)
        self._ahead = Ahead(self._read, workers)

    def positions(self, step: int) -> Tensor:
        """(B,) int64: which positions of the split step `step` sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return self._windows(epoch)[start : start + self.batch_size]

    def _order(self, epoch: int) -> Tensor | Windows:
        values = self.split.values
        if isinstance(values, Store) and values.source.blocks is not None:
            return Windows(values, self.seed, epoch)
        return order(len(self.split), self.seed, epoch)

    def _read(self, step: int) -> Tensor:
        """(B, *event) stored values of a step, from wherever they lie."""
        return self.split.values[self.positions(step)]

    def batch(self, step: int) -> Batch:
        """The batch of step `step`. A random reading draws from the default generator, which the loop has seeded."""
        positions = self.positions(step).to(self.device, non_blocking=True)
        split = self.split
        values = split.values
        stored = self._ahead(step).to(self.device) if isinstance(values, Store) else values.index_select(0, positions)
        x = split.reading(stored)
        context, labelled = pick(split.context, positions), pick(split.labelled, positions)
        return Batch(x, positions, len(split), context=context, labelled=labelled)


class Looks:
    """All batches of a split in their order, the same at each look: kept, or read anew where they are not in memory.

    Args:
        split: what to look at.
        batch_size: B; the last batch may be smaller.
        seed: of a random reading.
        workers: threads that read ahead; they decide nothing but speed.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, workers: int = 0) -> None:
        self._read = partial(split.batches, batch_size, seed, workers)
        self._kept = list(self._read()) if isinstance(split.values, Tensor) else None

    def __iter__(self) -> Iterator[Batch]:
        return self._read() if self._kept is None else iter(self._kept)
