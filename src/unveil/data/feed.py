"""What the training loop eats: batches as a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.batch import Batch, Peers
from unveil.data.order import Windows
from unveil.data.split import Split, pick
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

    Attributes:
        mine: the part of each batch that this process sees, which alone is read ahead.
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
        self.mine = slice(0, self.batch_size)
        self._ahead = Ahead(self._read, workers)

    def positions(self, step: int) -> Tensor:
        """(B,) int64: which positions of the split step `step` sees, on the device where the split is in memory."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return self._windows(epoch)[start : start + self.batch_size]

    def _order(self, epoch: int) -> Tensor | Windows:
        values = self.split.values
        if isinstance(values, Store) and values.source.blocks is not None:
            return Windows(values, self.seed, epoch)
        found = order(len(self.split), self.seed, epoch)
        return found.to(self.device) if isinstance(values, Tensor) else found

    def _read(self, step: int) -> Tensor:
        """Stored values of what this process sees of a step, from wherever they lie."""
        return self.split.values[self.positions(step)[self.mine]]

    def _stored(self, step: int, place: slice, positions: Tensor) -> Tensor:
        """(n, *event) stored values of a part of a step."""
        values = self.split.values
        if not isinstance(values, Store):
            return values.index_select(0, positions)
        start, stop, _ = place.indices(self.batch_size)
        if self.mine.start <= start and stop <= self.mine.stop:
            return self._ahead(step)[start - self.mine.start : stop - self.mine.start].to(self.device)
        return values[positions.cpu()].to(self.device)

    def part(self, part: int, parts: int) -> slice:
        """Which places of a batch are its part `part` of `parts`: as even as can be, in order."""
        return slice(part * self.batch_size // parts, (part + 1) * self.batch_size // parts)

    def batch(self, step: int, place: slice = slice(None), peers: Peers | None = None) -> Batch:
        """The batch of step `step`, or the part of it at `place`, which knows the rest by `peers`.

        A random reading draws from the default generator, which the loop has seeded.
        """
        positions = self.positions(step)[place].to(self.device, non_blocking=True)
        return self._batch(self._stored(step, place, positions), positions, peers)

    def at(self, positions: Tensor) -> Batch:
        """The rows at `positions` (B,), on the device, of a split that is in memory there."""
        assert isinstance(self.split.values, Tensor)
        return self._batch(self.split.values.index_select(0, positions), positions)

    def _batch(self, stored: Tensor, positions: Tensor, peers: Peers | None = None) -> Batch:
        split = self.split
        context, labelled = pick(split.context, positions), pick(split.labelled, positions)
        return Batch(split.reading(stored), positions, len(split), context=context, labelled=labelled, peers=peers)

    def close(self) -> None:
        """End what reads ahead; nothing can be asked for any more."""
        self._ahead.close()


class Looks:
    """All batches of a split in their order, the same at each look: kept, or read anew where they are not in memory.

    Args:
        split: what to look at.
        batch_size: B; the last batch may be smaller.
        seed: of a random reading.
        workers: threads that read ahead; they decide nothing but speed.

    Attributes:
        sizes: of the batches.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, workers: int = 0) -> None:
        self._read = partial(split.batches, batch_size, seed, workers)
        self.sizes = [min(batch_size, len(split) - start) for start in range(0, len(split), batch_size)]
        self._kept = list(self._read()) if isinstance(split.values, Tensor) else None

    def __iter__(self) -> Iterator[Batch]:
        return self._read() if self._kept is None else iter(self._kept)
