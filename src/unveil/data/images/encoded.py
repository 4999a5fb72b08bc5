"""Images that are read when they are asked for: from a scratch file, or decoded anew and held against what they were."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unveil.data.images.decode import BadImageError, decode
from unveil.data.images.survey import Shelf, Survey, hash_of
from unveil.data.store import Store, Stored
from unveil.errors import DataError


class Encoded:
    """The images that a survey found good: a source.

    Args:
        shelf: where they are.
        found: what was found there.
        name: what messages call the source.
        by_hash: whether hashes stand for the images in the fingerprint of the data. Images that memory may have room for
            on another machine have the fingerprint of their values.
    """

    dtype: torch.dtype = torch.uint8

    def __init__(self, shelf: Shelf, found: Survey, name: str, by_hash: bool) -> None:
        self.shelf, self.name, self.frame, self.kept = shelf, name, found.frame, found.kept
        self.event_shape: tuple[int, ...] = (found.frame.channels, *found.frame.size)
        self.blocks = shelf.blocks(found.kept.numpy())
        self.hashes: Tensor | None = found.hashes if by_hash else None
        self._known, self._scratch = found.hashes.numpy(), found.scratch

    def read(self, places: Tensor) -> Tensor:
        """(n, C, H, W) bytes.

        Raises:
            DataError: an image that is decoded anew is not what it was.
        """
        if self._scratch is not None:
            return torch.from_numpy(self._scratch.read(places))
        pixels = np.empty((len(places), *self.event_shape), dtype=np.uint8)
        for number, row in enumerate(places.tolist()):
            place = int(self.kept[row])
            try:
                pixels[number] = decode(self.shelf.blob(place), self.frame)
                same = hash_of(pixels[number]) == self._known[row].tobytes()
            except BadImageError:
                same = False
            if not same:
                raise DataError(
                    f"{self.shelf.name(place)} in {self.name} is not what it was when all were looked at; leave the files "
                    "alone, and resume once they are as they were"
                )
        return torch.from_numpy(pixels)


def stored(shelf: Shelf, found: Survey, name: str) -> Stored:
    """The values that a survey was to keep: in memory, or decoded when they are asked for."""
    if found.values is not None:
        return found.values
    return Store(Encoded(shelf, found, name, by_hash=False), torch.arange(len(found.kept)))
