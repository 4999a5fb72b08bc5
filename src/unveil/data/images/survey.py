"""All images of a source looked at once before any is trained on: which are bad, what shape they get, and what they are.

Where they are too many to be kept, what stays is a hash of each image's decoded bytes. It stands for the image in the
fingerprint of the data, and whoever decodes the image again sees by it that this is still the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.images.decode import BadImageError, Blob, Frame, Header, decode, header
from unveil.data.images.how import How
from unveil.data.images.reading import every, two_toned
from unveil.data.scratch import Scratch
from unveil.data.store import Blocks
from unveil.errors import DataError
from unveil.hardware import exceeds

WORKERS = 4
"""Threads that look; decoders let go of the interpreter's lock."""
TOGETHER = 64
"""Images that one of them looks at in turn."""
NUMBERS = 2**22
"""Most numbers that it decodes in turn."""
HASH = 16
"""Bytes of a hash."""
ROOM = 0.25
"""Share of the memory that decoded images may fill; while they are split they take twice as much."""

T = TypeVar("T")


class Shelf(Protocol):
    """Encoded images by number."""

    def __len__(self) -> int: ...

    def blob(self, place: int) -> Path | Blob:
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
        values: (N, C, H, W) uint8, those bytes, where they were to be kept and memory has room for them.
        scratch: those bytes on the disk, where they are not in memory and that has room.
        heads: what their files say of themselves, and how often.
        frame: the shape that they are brought to.
        near: share of pixels that are nearly black or white, among some of them.
        bad: what is left out, by name, each with the reason.
    """

    kept: Tensor
    hashes: Tensor
    values: Tensor | None
    scratch: Scratch | None
    heads: Counter[Header]
    frame: Frame
    near: float
    bad: dict[str, str]


def survey(shelf: Shelf, how: How, name: str, bad: Mapping[str, str], keep: bool) -> Survey:
    """Look at the headers of all images, then decode each in the shape that most of them have, or that was asked for.

    Args:
        shelf: where they are.
        how: what was asked for.
        name: what messages call the source.
        bad: what was found to be bad before.
        keep: whether to keep what is decoded in memory, if that has room for it.

    Raises:
        DataError: no image can be read, or one cannot and bad ones are to stop everything.
    """
    total, wrong = len(shelf) + len(bad), dict(bad)
    heads: Counter[Header] = Counter()
    good: list[int] = []
    for place, head in _each(shelf, range(len(shelf)), header, TOGETHER):
        if isinstance(head, Header):
            heads[head] += 1
            good.append(place)
        else:
            wrong[shelf.name(place)] = head
    how.settle(wrong, name, total)
    if not good:
        raise DataError(f"{name} holds no images that can be read{_first(wrong)}")
    frame = how.frame(heads)
    found = _decoded(shelf, good, frame, keep, wrong)
    how.settle(wrong, name, total)
    if not len(found[0]):
        raise DataError(f"{name} holds no images that can be decoded{_first(wrong)}")
    kept, hashes, pixels, near = found
    values = torch.from_numpy(pixels[: len(kept)]) if isinstance(pixels, np.ndarray) else None
    return Survey(kept, hashes, values, pixels if isinstance(pixels, Scratch) else None, heads, frame, near, wrong)


Kept = np.ndarray | Scratch | None


def _decoded(
    shelf: Shelf, good: Sequence[int], frame: Frame, keep: bool, bad: dict[str, str]
) -> tuple[Tensor, Tensor, Kept, float]:
    """Of the images at places `good`: which can be decoded, their hashes, their bytes, and how near black or white."""
    event = (frame.channels, *frame.size)
    here = keep and not exceeds(len(good) * prod(event), ROOM)
    pixels: Kept = np.empty((len(good), *event), dtype=np.uint8) if here else Scratch.made(len(good), event)
    hashes = np.empty((len(good), HASH), dtype=np.uint8)
    kept: list[int] = []
    shades: list[float] = []

    def look(blob: Path | Blob) -> tuple[bytes, float, np.ndarray]:
        found = decode(blob, frame)
        return hash_of(found), two_toned(found), found

    for place, found in _each(shelf, good, look, max(1, min(TOGETHER, NUMBERS // prod(event)))):
        if isinstance(found, str):
            bad[shelf.name(place)] = found
            continue
        row = len(kept)
        hashes[row] = np.frombuffer(found[0], dtype=np.uint8)
        pixels = _kept(pixels, row, found[2])
        if row % every(len(good)) == 0:
            shades.append(found[1])
        kept.append(place)
    if isinstance(pixels, Scratch):
        pixels = _kept(pixels, len(kept), None)
    near = sum(shades) / max(1, len(shades))
    return torch.tensor(kept), torch.from_numpy(hashes[: len(kept)]), pixels, near


def _kept(pixels: Kept, row: int, found: np.ndarray | None) -> Kept:
    """With one more image, or, for None, settled; None from where the disk is full."""
    try:
        if isinstance(pixels, Scratch):
            pixels.settle() if found is None else pixels.add(found)
        elif pixels is not None:
            pixels[row] = found
    except OSError:
        return None
    return pixels


def _first(bad: dict[str, str]) -> str:
    """The first of the bad images, and why."""
    return "".join(f": {path}: {reason}" for path, reason in sorted(bad.items())[:1])


def hash_of(pixels: np.ndarray) -> bytes:
    """What stands for an image's decoded bytes."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=HASH).digest()


def _each(
    shelf: Shelf, places: Sequence[int], look: Callable[[Path | Blob], T], together: int
) -> Iterator[tuple[int, T | str]]:
    """What `look` finds of the images at these places, in their order, or in words why it cannot."""

    def tried(place: int) -> T | str:
        try:
            return look(shelf.blob(place))
        except BadImageError as error:
            return error.reason

    count = -(-len(places) // together)
    some = Ahead(lambda k: [tried(place) for place in places[k * together : (k + 1) * together]], WORKERS, count)
    for k in range(count):
        yield from zip(places[k * together : (k + 1) * together], some(k), strict=True)
