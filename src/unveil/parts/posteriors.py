"""Gaussian posteriors whose dimensions depend on each other: `Net(encoder, Full(16))` is q(z|x) with a full covariance."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import FullGaussian, LowRankGaussian
from unveil.errors import SettingError
from unveil.parts.heads import BOUND, Head, bounded
from unveil.words import counted

STEEP = 10.0
"""No coefficient that mixes noise is larger: two dimensions correlate by at most 0.995."""
GROWTH = 1e9
"""The inverse of a Cholesky factor, its scales aside, grows nothing by more: its square then fits float32 amply."""
SPREAD = 300.0
"""The Frobenius norm of a low-rank factor, its scales aside: its capacitance then has a Cholesky factor in float32."""


class Full(Head):
    r"""Gaussian variables with a full covariance, through its Cholesky factor S (I + A).

    Of the parameters (*lead, D + D + D (D - 1) / 2) the first D are means, the next log-variances (twice log S), bounded
    smoothly, and the rest the rows of A, strictly lower triangular and bounded by min(10, 1e9^{1/D} - 1), so that
    (I + A)^-1 stays within float32 whatever the network says. At D = 16 the bound is 2.7, at D = 64 it is 0.4.

    Args:
        event_shape: shape of one event, or the number D of dimensions of a vector.

    Raises:
        SettingError: a shape without dimensions, or parameters of another shape.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = _shape(event_shape)
        size = prod(self.event_shape)
        self._steepest = min(STEEP, GROWTH ** (1 / size) - 1)
        rows, columns = torch.tril_indices(size, size, -1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, parameters: Tensor) -> Distribution:
        size = prod(self.event_shape)
        loc, log_variance, below = _split(self, parameters, [size, size, size * (size - 1) // 2])
        factor = below.new_zeros(*below.shape[:-1], size, size)
        factor[..., self.rows, self.columns] = bounded(below, self._steepest)
        return FullGaussian(loc.unflatten(-1, self.event_shape), _log_scale(log_variance), factor, len(self.event_shape))

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        size = prod(event_shape)
        return (2 * size + size * (size - 1) // 2,)


class LowRank(Head):
    r"""Gaussian variables with covariance S^2 + U U', which costs little more than independent ones.

    Of the parameters (*lead, D (2 + R)) the first D are means, the next log-variances (twice log S), bounded smoothly, and
    the rest the rows of U / S, bounded by min(10, 300 / sqrt(D R)), so that densities keep their digits in float32.

    Args:
        event_shape: shape of one event, or the number D of dimensions of a vector.
        rank: R, columns of U, from 1 to D.

    Raises:
        SettingError: a shape without dimensions, a rank out of range, or parameters of another shape.
    """

    def __init__(self, event_shape: int | Sequence[int], rank: int) -> None:
        super().__init__()
        self.event_shape, self.rank = _shape(event_shape), rank
        size = prod(self.event_shape)
        if not 1 <= rank <= size:
            raise SettingError(
                f"a covariance over {counted(size, 'dimension')} has no part of rank {rank}; give 1 to {size}"
            )
        self._steepest = min(STEEP, SPREAD / (size * rank) ** 0.5)

    def forward(self, parameters: Tensor) -> Distribution:
        size = prod(self.event_shape)
        loc, log_variance, factor = _split(self, parameters, [size, size, size * self.rank])
        factor = bounded(factor, self._steepest).unflatten(-1, (size, self.rank))
        return LowRankGaussian(loc.unflatten(-1, self.event_shape), _log_scale(log_variance), factor, len(self.event_shape))

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (prod(event_shape) * (2 + self.rank),)


def _shape(event_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    if min(shape, default=0) < 1:
        raise SettingError(f"a Gaussian over shape {shape} has no dimensions; give positive numbers")
    return shape


def _log_scale(log_variance: Tensor) -> Tensor:
    return bounded(0.5 * log_variance, 0.5 * BOUND)


def _split(head: Head, parameters: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Consecutive pieces of the parameters (*lead, sum of sizes), in float32."""
    if parameters.shape[-1] != sum(sizes):
        raise SettingError(
            f"{type(head).__name__} takes {sum(sizes)} parameters here; the network gave {parameters.shape[-1]}"
        )
    return parameters.float().split(sizes, -1)
