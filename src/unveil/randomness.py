"""Randomness is a function, not a state.

Every random number is drawn from a generator seeded by a *key*: a hash of what the numbers are for. The permutation of
epoch e depends on (seed, "order", e), the noise of training step t on (seed, "step", t, microbatch), the binarisation
of test image i on (seed, "reading", i). Nothing therefore depends on what was drawn before, and a run can stop and go on.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_told = threading.local()
"""Who is told of reseedings, in each thread."""


def key(*parts: int | str) -> int:
    """A seed in [0, 2**63): the same parts give the same seed on every machine and in every version."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator of its own for these parts."""
    return torch.Generator().manual_seed(key(*parts))


def reseed(*parts: int | str, device: torch.device | None = None) -> None:
    """Seed the default generators, because torch's distributions take no generator.

    `torch.manual_seed` visits every backend and takes 0.1 ms, a few percent of a small step: only the CPU's generator
    and that of the device in use are set.
    """
    seed = key(*parts)
    if (listener := getattr(_told, "listener", None)) is not None:
        listener(*parts)
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):  # which need not be the current one
            torch.cuda.manual_seed(seed)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def overheard(listener: Callable[..., None]) -> Iterator[None]:
    """Within, in this thread, `listener` is told the parts that the default generators are reseeded by."""
    _told.listener = listener
    try:
        yield
    finally:
        _told.listener = None
