"""The vector of weights, cut at the ranks: each keeps moments and averages of its own slice alone, and steps that.

Source: ZeRO, of which this is the first stage in memory and the second in what is sent: Rajbhandari et al. 2020, ZeRO:
Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unveil.training.team import Team

ALIGNED = 64
"""Slices begin at multiples of this, so that vector instructions take the same numbers together as they do uncut."""


class Cut:
    """Which slice of a vector is whose.

    Args:
        size: of the vector.
        team: the ranks.
        shard: whether it is cut at all; else every rank has the whole.

    Attributes:
        whole: whether it is not cut.
        slices: of the ranks in order, or the whole alone; the last may be empty.
        mine: that of this rank.
    """

    def __init__(self, size: int, team: Team, shard: bool) -> None:
        self.size, self.team = size, team
        self.whole = not shard or team.size == 1
        parts = 1 if self.whole else team.size
        width = size if self.whole else ALIGNED * -(-size // (ALIGNED * parts))
        self.slices = [slice(min(part * width, size), min((part + 1) * width, size)) for part in range(parts)]
        self.mine = self.slices[0 if self.whole else team.rank]

    def sum_(self, message: Tensor) -> None:
        """Sum a message over all ranks in place: of its first `size` numbers each rank gets its slice, the rest all get.

        Each slice is reduced to its rank; gloo has no reduce-scatter of its own, and torch makes one of an all-reduce of a
        copy. The other slices are nobody's afterwards.
        """
        if self.whole:
            self.team.sum_(message)
            return
        self._each(message, lambda piece, rank: dist.reduce(piece, rank, async_op=True))
        self.team.sum_(message[self.size :])

    def gather_(self, vector: Tensor) -> Tensor:
        """`vector` (size,) with every rank's slice as that rank has it, in place."""
        if not self.whole:
            self._each(vector, lambda piece, rank: dist.broadcast(piece, rank, async_op=True))
        return vector

    def norm(self, mine: Tensor) -> Tensor:
        """The length of a vector of which this rank has the slice `mine`; the same bits on every rank."""
        norm = torch.linalg.vector_norm(mine)
        if self.whole:
            return norm
        # squared in double precision: what is finite stays so
        square = self.team.sum_(norm.double().square().reshape(1))
        return square.sqrt().to(norm.dtype)[0]

    def _each(self, vector: Tensor, send: Callable[[Tensor, int], Any]) -> None:
        """Have all slices sent at once, each by or to its rank."""
        with self.team.meeting():
            works = [send(vector[piece], rank) for rank, piece in enumerate(self.slices) if piece.start < piece.stop]
            for work in works:
                work.wait()
