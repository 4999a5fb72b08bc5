"""A split in blocks and draws in chunks, so that memory grows neither with the images nor with K."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unveil.data import Batch, Split
from unveil.models import Draw, Model
from unveil.randomness import reseed

ROWS = 4_000
"""Most values of z decoded at a time."""
NUMBERS = 784 * ROWS
"""Most numbers of x decoded at a time."""


def blocks(split: Split, samples: int, seed: int, device: torch.device) -> Iterator[Batch]:
    """All images in their order and the reading of `seed`, so many at a time as can have `samples` draws each."""
    rows = max(1, min(ROWS, NUMBERS // split.values[0].numel()))
    for batch in split.batches(max(1, rows // samples), seed):
        yield batch.to(device)


def chunks(model: Model, batch: Batch, samples: int, *purpose: int | str) -> Iterator[tuple[int, Draw]]:
    """`samples` draws of a block, some at a time: how many, and their draw. Randomness is a function of `purpose`.

    A draw's mass is what each of its values counts for within its own chunk.
    """
    rows = max(1, min(ROWS, NUMBERS // batch.x[0].numel()))
    for chunk, start in enumerate(range(0, samples, rows)):
        count = min(rows, samples - start)
        reseed(*purpose, chunk, device=batch.x.device)
        yield count, model.draw(batch, count)
