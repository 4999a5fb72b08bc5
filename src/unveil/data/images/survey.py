"""All images of a source looked at once before any is trained on: which are bad, what shape they get, and what they are.

Nothing that is decoded is kept but a hash of each image's bytes. It stands for the image in the fingerprint of the data,
and whoever decodes the image again sees by it that this is still the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.images.decode import BadImageError, Blob, Frame, Header, decode, header
from unveil.data.images.how import How
from unveil.data.images.reading import every, two_toned
from unveil.data.store import Blocks
from unveil.errors import DataError

WORKERS = 4
"""Threads that look; decoders let go of the interpreter's lock."""
TOGETHER = 64
"""Images that one of them looks at in turn."""
HASH = 16
"""Bytes of a hash."""

T = TypeVar("T")


class Shelf(Protocol):
    """Encoded images by number."""

    def __len__(self) -> int: ...

    def blob(self, place: int) -> Blob:
        """The encoded image; called by several threads at once. BadImageError where it cannot be had."""

    def name(self, place: int) -> str:
        """What messages call it."""

    def blocks(self, places: np.ndarray) -> Blocks | None:
        """How the images at these places, in their order, lie together."""


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        kept: (N,) int64, places on the shelf of the good images.
        hashes: (N, 16) uint8, of their decoded bytes.
        heads: what their files say of themselves, and how often.
        frame: the shape that they are brought to.
        near: share of pixels that are nearly black or white, among some of them.
        bad: what is left out, by name, each with the reason.
    """

    kept: Tensor
    hashes: Tensor
    heads: Counter[Header]
    frame: Frame
    near: float
    bad: dict[str, str]


def survey(shelf: Shelf, how: How, name: str, bad: dict[str, str]) -> Survey:
    """Look at the headers of all images, then decode each in the shape that most of them have, or that was asked for.

    Args:
        shelf: where they are.
        how: what was asked for.
        name: what messages call the source.
        bad: what was found to be bad before.

    Raises:
        DataError: no image can be read, or one cannot and bad ones are to stop everything.
    """
    total, bad = len(shelf) + len(bad), dict(bad)
    heads: Counter[Header] = Counter()
    seen: dict[int, Header | None] = {}
    for place, head in _each(shelf, range(len(shelf)), header):
        if isinstance(head, Header):
            heads[head] += 1
        else:
            bad[shelf.name(place)], seen[place] = head, None
    how.settle(bad, name, total)
    if not heads:
        raise DataError(f"{name} holds no images that can be read{_first(bad)}")
    frame = how.frame(heads)
    good = [place for place in range(len(shelf)) if place not in seen]
    step = every(len(good))
    shades: list[float] = []
    kept: list[int] = []
    hashes = np.empty((len(good), HASH), dtype=np.uint8)

    def look(blob: Blob) -> tuple[bytes, float]:
        pixels = decode(blob, frame)
        return hash_of(pixels), two_toned(pixels)

    for place, found in _each(shelf, good, look):
        if isinstance(found, str):
            bad[shelf.name(place)] = found
            continue
        hashes[len(kept)] = np.frombuffer(found[0], dtype=np.uint8)
        if len(kept) % step == 0:
            shades.append(found[1])
        kept.append(place)
    how.settle(bad, name, total)
    if not kept:
        raise DataError(f"{name} holds no images that can be decoded{_first(bad)}")
    near = sum(shades) / len(shades)
    return Survey(torch.tensor(kept), torch.from_numpy(hashes[: len(kept)]), heads, frame, near, bad)


def _first(bad: dict[str, str]) -> str:
    """The first of the bad images, and why."""
    return "".join(f": {path}: {reason}" for path, reason in sorted(bad.items())[:1])


def hash_of(pixels: np.ndarray) -> bytes:
    """What stands for an image's decoded bytes."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=HASH).digest()


def _each(shelf: Shelf, places: range | list[int], look: Callable[[Blob], T]) -> Iterator[tuple[int, T | str]]:
    """What `look` finds of the images at these places, in their order, or in words why it cannot."""

    def tried(place: int) -> T | str:
        try:
            return look(shelf.blob(place))
        except BadImageError as error:
            return str(error).split(": ", 1)[-1]

    count = -(-len(places) // TOGETHER)
    some = Ahead(lambda k: [tried(place) for place in places[k * TOGETHER : (k + 1) * TOGETHER]], WORKERS, count)
    for k in range(count):
        yield from zip(places[k * TOGETHER : (k + 1) * TOGETHER], some(k), strict=True)


class Encoded:
    """Images that are decoded when they are asked for, and held against what they were when all were looked at.

    Args:
        shelf: where they are.
        found: what was found there.
        name: what messages call the source.
    """

    dtype: torch.dtype = torch.uint8

    def __init__(self, shelf: Shelf, found: Survey, name: str) -> None:
        self.shelf, self.name, self.frame, self.kept = shelf, name, found.frame, found.kept
        self.event_shape: tuple[int, ...] = (found.frame.channels, *found.frame.size)
        self.blocks = shelf.blocks(found.kept.numpy())
        self.hashes: Tensor | None = found.hashes
        self._known = found.hashes.numpy()

    def read(self, places: Tensor) -> Tensor:
        """(n, C, H, W) bytes.

        Raises:
            DataError: an image is not what it was.
        """
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
