"""Where float32 has too few digits for a formula, but its result fits: geometry and normalisers."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """The same numbers in float64, or in float32 on the one kind of device that has nothing wider."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)
