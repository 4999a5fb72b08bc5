"""Connections that wait only so long: whoever sends slowly, or reads slowly, is let go, and hurts nobody else.

uvicorn watches a connection between two requests; here it is watched from its first byte on. While what precedes a body has
not arrived, one clock runs, which further bytes do not set back; while a request is in work, another does, which ends
connections that nobody reads from. Where as many are open as may be, the one that has waited longest for a request is
closed for the new one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from unveil.serving.answers import written
from unveil.serving.bodies import JSON
from unveil.serving.guard import HEADERS
from unveil.serving.limits import Limits

LINGER = 1.0
"""Seconds between the last word and the end of a connection."""


class _Lingering:
    """A transport that sends an answer's head and body in one, and ends a little after it was closed.

    To close a socket that still receives undoes what was sent last: a client that is in the middle of too long a body would
    see its connection break, and not why. Where the other side ends first, that is the end.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._transport, self._loop, self._patience, self._closing = transport, loop, patience, False
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            self._transport.write(data)

    def close(self) -> None:
        if not self.is_closing():
            self._flush()
            self._closing, self._until = True, self._loop.time() + self._patience
            with suppress(OSError):  # the other side has gone
                self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER, self._over)

    def _over(self) -> None:
        """The end, unless something is left to be sent, and time for it."""
        if self._transport.get_write_buffer_size() and self._loop.time() < self._until:
            self._loop.call_later(LINGER, self._over)
        else:
            self._transport.abort()


class Patient(H11Protocol):
    """A connection.

    Attributes:
        limits: how long it may take, and how many there may be.
        since: when it began to wait for a request, in the loop's time; None while one is in work.
    """

    limits: Limits

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.since: float | None = self.loop.time()
        self._clock: asyncio.TimerHandle | None = None
        self._watched: object = None

    # what uvicorn tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Lingering(transport, self.loop, self.limits.seconds))  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            self._make_room()
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # nothing is read any more
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in JSON, as everything else."""
        self._end(400, "this is no HTTP request, or one with too long a head; send another")

    # clocks

    def _watch(self) -> None:
        """See that the clock runs that belongs to what this connection is at."""
        if self.transport.is_closing():
            self._stop()
        elif self.cycle is not None and not self.cycle.response_complete:
            if self._watched is not self.cycle:
                limits = self.limits
                self._start(self.cycle, limits.body_seconds + 2 * limits.seconds, self.transport.abort)
                self.since = None
        elif self.timeout_keep_alive_task is not None:  # uvicorn's own clock runs
            self._stop()
            self.since = self.loop.time()
        elif self._watched is not self:
            self.since = self.loop.time()
            self._start(self, self.limits.header_seconds, self._late)

    def _start(self, watched: object, seconds: float, then: Any) -> None:
        self._stop()
        self._watched, self._clock = watched, self.loop.call_later(seconds, then)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._watched = self._clock = None

    def _late(self) -> None:
        self._end(408, f"no whole request came within {self.limits.header_seconds:g} s; send it at once")

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request; where none does, this one."""
        waiting = [
            one for one in self.connections if isinstance(one, Patient) and one.since is not None and one is not self
        ]
        oldest = min(waiting, key=lambda one: one.since or 0.0, default=self)
        oldest._end(503, "as many connections are open as there may be; ask again in a second", b"1")

    def _end(self, status: int, reason: str, retry: bytes | None = None) -> None:
        """Say why, if it can be said, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = written({"error": reason})
            headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            headers += [
                (b"Content-Type", JSON.encode()),
                (b"Content-Length", str(len(body)).encode()),
                (b"Connection", b"close"),
            ]
            headers += [] if retry is None else [(b"Retry-After", retry)]
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self.since = None
        self._stop()
