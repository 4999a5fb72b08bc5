"""Weights in half precision: a run folder may hold its float32 tensors as float16, at half the size, and then says so.

Opened they are float32 again. Rounding once is for good: what was opened from halves goes back into them unchanged, so that
figures of the opened weights are figures of the stored ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

STORED, HALF = "stored", "float16"
"""What run.json says of a folder whose weights are halves."""


def packed(state: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors as the folder of `manifest` holds them: float32 as float16 where it says so, others as they are."""
    return _cast(state, torch.float32, torch.float16) if manifest.get(STORED) == HALF else dict(state)


def unpacked(state: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors to use, of those that the folder of `manifest` holds."""
    return _cast(state, torch.float16, torch.float32) if manifest.get(STORED) == HALF else dict(state)


def _cast(state: Mapping[str, Tensor], old: torch.dtype, new: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.to(new) if tensor.dtype == old else tensor for name, tensor in state.items()}
