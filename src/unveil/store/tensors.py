"""Tensors on disk: safetensors, which holds numbers and cannot hold code, with the digest kept elsewhere.

Files are written from the tensors' own memory, and are read only after their size, their digest and their header were
found to be in order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from unveil.errors import RunError
from unveil.store.files import opened, put
from unveil.words import counted

HEADER = 4 * 2**20
"""Bytes of a header: those of some forty thousand tensors."""
KINDS = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""What safetensors calls types. A file holds the last ones first, so that each tensor is aligned."""
ORDER = tuple(KINDS)


def save(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write named tensors; returns the SHA-256 of the file."""
    digest = hashlib.sha256()

    def fill(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for piece in _pieces(tensors):
                file.write(piece)
                digest.update(piece)

    put(path, fill)
    return digest.hexdigest()


def digest(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of the file that `save` would write."""
    digest = hashlib.sha256()
    for piece in _pieces(tensors):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(tensors: dict[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, those of each tensor from its own memory: byte for byte what the library writes.

    Its own writers either copy all tensors twice, or leave a temporary file of theirs behind when they are killed.
    """
    names = sorted(tensors, key=lambda name: (-ORDER.index(tensors[name].dtype), name))
    header, end = {}, 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        kind, shape = KINDS[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    said = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    said += b" " * (-len(said) % 8)
    yield len(said).to_bytes(8, "little") + said
    for name in names:
        yield tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def load(
    path: Path, digest: str, most: int | None = None, take: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
) -> dict[str, Tensor]:
    """The named tensors of a file whose SHA-256 must be `digest`: safetensors alone notices no flipped bit.

    Args:
        path: the file.
        digest: in hexadecimal.
        most: bytes that its tensors can have; of a larger one no more than its header is read.
        take: what to keep of a tensor, by its name.

    Raises:
        RunError: no such file, or one that is damaged.
    """
    with opened(path) as file:  # once: what is checked is what is taken
        size = os.fstat(file.fileno()).st_size
        header = int.from_bytes(file.read(8), "little")
        if size < 8 or header > min(HEADER, size - 8):
            raise RunError(f"{path} is damaged: its header states {header:,} bytes of itself, and the file has {size:,}")
        if most is not None and size - 8 - header > most:
            raise RunError(
                f"{path} is damaged: it holds {counted(size - 8 - header, 'byte')} of tensors, and the model {most:,}"
            )
        file.seek(0)
        content = file.read(size)
    if hashlib.sha256(content).hexdigest() != digest:
        raise RunError(f"{path} is damaged: its SHA-256 is not the one that was recorded when it was written")
    try:
        whole = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path} is no safetensors file: {str(error)[:100]}") from None
    # of a part that is kept a copy, so that the whole is let go
    kept = {name: take(name, tensor) for name, tensor in whole.items()}
    return {name: one if one is whole[name] else one.clone() for name, one in kept.items()}
