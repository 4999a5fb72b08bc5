"""The IDX format of MNIST's files: a header that is checked against the bytes that follow, and nothing more."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from unveil.errors import DataError

UNSIGNED_BYTE = 0x08


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file, decompressed where its first bytes say gzip; at most `limit` bytes.

    Raises:
        DataError: damaged compression, or more than `limit` bytes: an archive that expands without end is not read on.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                content = raw.read(limit + 1)
            else:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    content = unpacked.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; remove it, so that it is fetched anew") from None
    if len(content) > limit:
        raise DataError(f"{path} holds more than the {limit:,} bytes it should; remove it, so that it is fetched anew")
    return content


def parse(content: bytes, name: str, dims: int) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, read-only.

    Args:
        content: the decompressed file.
        name: what messages call it.
        dims: how many dimensions it must have: 3 for images, 1 for labels.

    Raises:
        DataError: the header is none, or speaks of another number of bytes than there are.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{name} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00 08")
    kind, given = content[2], content[3]
    if kind != UNSIGNED_BYTE or given != dims:
        raise DataError(
            f"{name} is an IDX file of type 0x{kind:02x} in {given} dimensions; "
            f"expected unsigned bytes (0x08) in {dims}: are images and labels swapped?"
        )
    head = 4 + 4 * dims
    if len(content) < head:
        raise DataError(f"{name} ends within its header; remove it, so that it is fetched anew")
    shape = struct.unpack(f">{dims}I", content[4:head])
    if prod(shape) != len(content) - head or not all(shape):
        raise DataError(
            f"{name} announces {' x '.join(map(str, shape))} = {prod(shape):,} bytes but holds {len(content) - head:,}; "
            "the file is damaged: remove it, so that it is fetched anew"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
