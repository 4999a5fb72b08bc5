"""What the training loop eats: batches as a function of (seed, step)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from unveil.data.batch import Batch, Peers
from unveil.data.dataset import Split, pick
from unveil.errors import SettingError
from unveil.randomness import generator


@lru_cache(maxsize=2)
def order(n: int, seed: int, epoch: int) -> Tensor:
    """The permutation of 0..n-1 in which epoch `epoch` visits the rows, (n,) int64."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


class Feed:
    """Shuffled batches of a split that lies on the device, each a function of (seed, step).

    An epoch visits floor(N / B) full batches; which rows the remainder leaves out changes from epoch to epoch, so every
    row is visited equally often in the mean and every gradient is a mean over the same number of examples.

    Args:
        split: what to train on; moved to `device` as it is stored.
        batch_size: B; a split smaller than that gives one batch of all its rows.
        seed: the run's seed.
        device: where the batches are made.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, device: torch.device) -> None:
        if len(split) == 0:
            raise SettingError("the training split is empty; give data with at least one row")
        self.split = split.to(device)
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.device = device
        self.steps_per_epoch = len(split) // self.batch_size

    def positions(self, step: int) -> Tensor:
        """(B,) int64: which positions of the split step `step` sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return order(len(self.split), self.seed, epoch)[start : start + self.batch_size]

    def part(self, part: int, parts: int) -> slice:
        """Which places of a batch are its part `part` of `parts`: as even as can be, in order."""
        return slice(part * self.batch_size // parts, (part + 1) * self.batch_size // parts)

    def batch(self, step: int, place: slice = slice(None), peers: Peers | None = None) -> Batch:
        """The batch of step `step`, or the part of it at `place`, which knows the rest by `peers`.

        A random reading draws from the default generator, which the loop has seeded.
        """
        positions = self.positions(step)[place].to(self.device, non_blocking=True)
        split = self.split
        x = split.reading(split.values.index_select(0, positions))
        context, labelled = pick(split.context, positions), pick(split.labelled, positions)
        return Batch(x, positions, len(split), context=context, labelled=labelled, peers=peers)
