"""A bounded queue and the one thread that computes: whenever it is free, it takes what waits of one kind, and no clock."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from unveil.errors import UnveilError
from unveil.serving.refusal import Refusal, busy
from unveil.serving.together import Found, Piece, Together
from unveil.words import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What is asked of a model. Pieces of one kind, that say as much as each other, are computed in one pass.

    Attributes:
        name: for messages.
        work: what computes.
        rows: most rows in a pass.
    """

    name: str
    work: Together
    rows: int


@dataclass(eq=False)
class _Job:
    """A piece that waits, and who waits for it."""

    kind: Kind
    piece: Piece
    answer: asyncio.Future[Found]
    given_up: bool = False

    @property
    def company(self) -> tuple[int, frozenset[str]]:
        """What is the same for those that can be computed with it."""
        return id(self.kind), frozenset(name for name, rows in self.piece.given.items() if rows is not None)


class Batcher:
    """Computes pieces of requests.

    Args:
        queue: requests that may wait; one more is refused.
        seconds: that a request may take.
        joining: whether pieces that wait are computed together.
    """

    def __init__(self, queue: int, seconds: float, joining: bool = True) -> None:
        self.queue, self.seconds, self.joining = queue, seconds, joining
        self._jobs: deque[_Job] = deque()
        self._requests = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="unveil-serve", daemon=True)
        self._thread.start()

    async def answer(self, kind: Kind, pieces: Sequence[Piece]) -> list[Found]:
        """What is found for the pieces of a request.

        Raises:
            Refusal: 503 where too many wait or it takes too long; 422 where the model cannot.
        """
        loop = asyncio.get_running_loop()
        jobs = [_Job(kind, piece, loop.create_future()) for piece in pieces]
        if self._requests >= self.queue or self._closed:
            raise busy(f"{counted(self._requests, 'request')} waiting already")
        self._requests += 1
        try:
            with self._changed:
                self._jobs.extend(jobs)
                self._changed.notify()
            async with asyncio.timeout(self.seconds):
                return await asyncio.gather(*[job.answer for job in jobs])
        except TimeoutError:
            raise busy(f"this took longer than {self.seconds:g} s") from None
        finally:
            self._requests -= 1
            for job in jobs:
                job.given_up = True

    def close(self) -> None:
        """Let the thread end with the pass that it is in."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            found: Sequence[Found | Exception]
            try:
                found = jobs[0].kind.work([job.piece for job in jobs])
            except Exception as error:
                # one of them may be to blame, and the others are not to suffer for it
                found = [error] if len(jobs) == 1 else [_alone(job) for job in jobs]
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                jobs[0].answer.get_loop().call_soon_threadsafe(_deliver, jobs, found)

    def _next(self) -> list[_Job]:
        """The job that has waited longest, and what goes with it; nothing when all is to end."""
        with self._changed:
            while not self._closed:
                while self._jobs and self._jobs[0].given_up:
                    self._jobs.popleft()
                if self._jobs:
                    return self._company()
                self._changed.wait()
        return []

    def _company(self) -> list[_Job]:
        first = self._jobs.popleft()
        if not self.joining:
            return [first]
        taken, left, rows = [first], [], first.piece.count
        for job in self._jobs:
            if job.given_up:
                continue
            if job.company == first.company and rows + job.piece.count <= job.kind.rows:
                taken.append(job)
                rows += job.piece.count
            else:
                left.append(job)
        self._jobs = deque(left)
        return taken


def _alone(job: _Job) -> Found | Exception:
    try:
        return job.kind.work([job.piece])[0]
    except Exception as error:
        return error


def _deliver(jobs: Sequence[_Job], found: Sequence[Found | Exception]) -> None:
    """On the loop: each its answer."""
    for job, one in zip(jobs, found, strict=True):
        if job.given_up or job.answer.done():
            continue
        if not isinstance(one, Exception):
            job.answer.set_result(one)
        elif isinstance(one, UnveilError):
            job.answer.set_exception(Refusal(422, str(one)))
        else:
            job.answer.set_exception(one)
