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
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        """torch's own FlopCounterMode also hooks modules, and fails at one that gives a view of a parameter."""

        total = 0

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """No: torch would import the compiler, a second and more, to keep it from what is not compiled."""
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if (count := flop_registry.get(func._overloadpacket)) is not None:
                self.total += count(*args, **(kwargs or {}), out_val=found)
            return found

    with Counter() as counter:
        function()
    return counter.total
