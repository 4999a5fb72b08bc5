"""What changes from step to step besides the batch, in tensors that stay where they are.

A step that was captured as a CUDA graph reads its arguments at fixed places, so that is where they are put, on every
device.
"""

from __future__ import annotations

import torch


class Now:
    """The time of a step, and what follows from it.

    Args:
        device: of the step.

    Attributes:
        t: () time in epochs.
        rate: () learning rate.
        follow: () by how much the average follows the weights.
        place: (1,) int64, of the step in its epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self.t, self.rate, self.follow = (torch.zeros((), device=device) for _ in range(3))
        self.place = torch.zeros(1, dtype=torch.int64, device=device)

    def set(self, t: float, rate: float, follow: float, place: int) -> None:
        """Let it be the time of another step; the host does not wait for the device."""
        self.t.fill_(t)
        self.rate.fill_(rate)
        self.follow.fill_(follow)
        self.place.fill_(place)
