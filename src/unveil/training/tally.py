"""What the steps report, kept on the device and read when an epoch ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Tally:
    """A row of figures for each step of an epoch, and whether it was finite.

    Args:
        names: of the figures that a step reports.
        steps: in an epoch.
        device: where they are.
    """

    def __init__(self, names: Sequence[str], steps: int, device: torch.device) -> None:
        self.names = tuple(names)
        self.rows = torch.full((steps, len(names) + 1), torch.nan, device=device)

    def add(self, figures: Mapping[str, Tensor], finite: Tensor, place: Tensor) -> None:
        """Take in the scalars of the epoch's step `place` (1,); `finite` is a scalar bool."""
        row = [figures[name].detach() for name in self.names]
        self.rows.index_copy_(0, place, torch.stack([one.to(self.rows.dtype) for one in (*row, finite)]).unsqueeze(0))

    def read(self) -> tuple[dict[str, float], list[int]]:
        """Means over the finite steps by name (nan when there was none), and the places of those that were lost."""
        rows = self.rows.cpu().double()
        finite = rows[:, -1] == 1
        means = rows[finite, :-1].mean(0).tolist()
        return dict(zip(self.names, means, strict=True)), (~finite).nonzero().flatten().tolist()
