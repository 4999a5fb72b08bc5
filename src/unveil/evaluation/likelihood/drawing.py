"""A split in blocks and draws in chunks, so that memory grows neither with the images nor with K."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.models import Draw, Model
from unveil.randomness import reseed

ROWS = 4_000
"""Most values of z decoded at a time. Fewer cost more calls, more leave the cache: 1,000 and 8,000 take a fifth longer."""
NUMBERS = 784 * ROWS
"""Most numbers of x decoded at a time: large images come in fewer rows, so that 32 channels of them stay below 2 GB."""


def block_size(split: Split, samples: int) -> int:
    """How many images are weighed at a time."""
    return max(1, _rows(split.values[:1]) // samples)


def blocks(split: Split, samples: int, seed: int, device: torch.device, start: int = 0) -> Iterator[tuple[int, Batch]]:
    """All images in their order and the reading of `seed`, with the number of their block, from block `start` on."""
    size = block_size(split, samples)
    rest = split if start == 0 else split.subset(torch.arange(start * size, len(split)))
    for place, batch in enumerate(rest.batches(size, seed), start=start):
        yield place, batch.to(device)


def chunks(model: Model, batch: Batch, samples: int, *purpose: int | str) -> Iterator[tuple[int, Draw]]:
    """`samples` draws of a block, some at a time: how many, and their draw. Randomness is a function of `purpose`.

    A draw's mass is what each of its values counts for within its own chunk.
    """
    for chunk, count in enumerate(counts(batch, samples)):
        reseed(*purpose, chunk, device=batch.x.device)
        yield count, model.draw(batch, count)


def counts(batch: Batch, samples: int) -> list[int]:
    """How many of `samples` draws of a block are made at a time: even numbers, for a short last one costs as many calls."""
    parts = -(-samples // _rows(batch.x))
    return [samples // parts + (chunk < samples % parts) for chunk in range(parts)]


def _rows(values: Tensor) -> int:
    """How many draws to decode at a time, for stored values (N, *event) or x alike."""
    return max(1, min(ROWS, NUMBERS // values[0].numel()))
