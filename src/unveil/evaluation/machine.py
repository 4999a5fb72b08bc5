"""What this machine can do, so that a time can be forecast and a speed be told as a share of what is possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

import torch


def matrix_rate(dtype: torch.dtype = torch.float32, size: int = 2048, repeats: int = 9) -> float:
    """Operations per second of a product of two `size` x `size` matrices on the CPU: the median of `repeats`.

    Measured once for each number of threads: it takes a second or two.
    """
    return _matrix_rate(dtype, size, repeats, torch.get_num_threads())


@lru_cache
def _matrix_rate(dtype: torch.dtype, size: int, repeats: int, threads: int) -> float:
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        a @ b
        times.append(perf_counter() - start)
    return 2 * size**3 / sorted(times[1:])[repeats // 2]


def operations(function: Callable[[], Any]) -> int:
    """Operations of the matrix products and convolutions in one call of `function`, a multiply-add counted as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
