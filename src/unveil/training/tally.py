"""Sums of what the steps report, kept on the device and read when an epoch ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Tally:
    """Means over the finite steps since the last reading, and the last step that was not finite.

    Args:
        names: of the figures that a step reports.
        device: where they are.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(names) + 1, dtype=exact, device=device)
        self.lost = torch.zeros((), dtype=torch.int64, device=device)
        self.last_lost = torch.full((), -1, dtype=torch.int64, device=device)

    def add(self, figures: Mapping[str, Tensor], finite: Tensor, step: int) -> None:
        """Take in the scalars of step `step`; `finite` is a scalar bool."""
        row = torch.stack([*(figures[name].detach() for name in self.names), torch.ones_like(figures[self.names[0]])])
        self.sums += torch.where(finite, row, 0)
        self.lost += ~finite
        self.last_lost.masked_fill_(~finite, step)

    def read(self) -> tuple[dict[str, float], int, int]:
        """Means by name (nan when no step was finite), how many steps were lost, and the last lost one (-1: none)."""
        sums = self.sums.tolist()
        count = sums.pop()
        means = {name: total / count if count else float("nan") for name, total in zip(self.names, sums, strict=True)}
        found = means, int(self.lost), int(self.last_lost)
        self.sums.zero_()
        self.lost.zero_()
        self.last_lost.fill_(-1)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Its state as named tensors, live."""
        return {"sums": self.sums, "lost": self.lost, "last_lost": self.last_lost}
