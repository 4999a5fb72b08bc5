"""Tensors on disk: safetensors, which holds numbers and cannot hold code, with the digest kept elsewhere."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from unveil.errors import RunError
from unveil.store.files import sha256, write


def save(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write named tensors; returns the SHA-256 of the file."""
    content = _content(tensors)
    write(path, content)
    return sha256(content)


def digest(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of the file that `save` would write."""
    return sha256(_content(tensors))


def _content(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def load(path: Path, digest: str) -> dict[str, Tensor]:
    """The named tensors of a file whose SHA-256 must be `digest`: safetensors alone notices no flipped bit.

    Raises:
        RunError: no such file, or one that is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if sha256(content) != digest:
        raise RunError(f"{path} is damaged: its SHA-256 is not the one that was recorded when it was written")
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path} is no safetensors file: {str(error)[:100]}") from None
