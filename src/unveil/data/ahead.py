"""Things made before they are asked for, by threads. A thing is a function of its number: threads decide only speed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 2
"""Things that each thread may be ahead: the queue is bounded, and so is the memory that it takes."""


class Ahead(Generic[T]):
    """What `make(k)` gives, of which the next few are made while the last one is used; asked for again, it is still there.

    Args:
        make: gives thing k; called by any thread, and by several at once.
        workers: how many threads; with 0 of them each thing is made when it is asked for.
        count: how many things there are; None for no end.
    """

    def __init__(self, make: Callable[[int], T], workers: int, count: int | None = None) -> None:
        self.make, self.count, self.depth = make, count, DEPTH * workers
        self._pool = ThreadPoolExecutor(workers, "unveil-ahead") if workers else None
        self._waiting: dict[int, Future[T]] = {}
        self._last: tuple[int, T] | None = None

    def __call__(self, k: int) -> T:
        """Thing k; an error that its making raised is raised here."""
        if self._last is None or self._last[0] != k:
            self._last = k, self.make(k) if self._pool is None else self._next(k, self._pool)
        return self._last[1]

    def _next(self, k: int, pool: ThreadPoolExecutor) -> T:
        last = k + self.depth if self.count is None else min(k + self.depth, self.count - 1)
        for other in [other for other in self._waiting if not k <= other <= last]:
            self._waiting.pop(other).cancel()  # whoever asked has gone elsewhere
        for wanted in range(k, last + 1):
            if wanted not in self._waiting:
                self._waiting[wanted] = pool.submit(self.make, wanted)
        return self._waiting.pop(k).result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
