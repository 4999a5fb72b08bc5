"""The server: a socket, the application behind it, and an end in order."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn

from unveil.errors import SettingError
from unveil.preflight import threads
from unveil.run import Run
from unveil.serving.application import Application
from unveil.serving.guard import Policy, is_every, written
from unveil.serving.limits import Limits
from unveil.serving.protocol import Patient
from unveil.serving.served import Served
from unveil.training.stop import Stop

ENVIRONMENT = "UNVEIL_TOKEN"
"""Where a token may stand that no file holds."""
SPARE = 64
"""Files that may be open beside connections."""
BACKLOG = 1024
"""Connections that may wait to be accepted."""
LONGEST = 4096
"""Bytes of a file with a token."""


@dataclass(frozen=True)
class Binding:
    """Where a server is reached, and by whom.

    Attributes:
        host: address that it is bound to.
        port: likewise; 0 for one that is free.
        names: others by which it is reached.
        origins: of pages of others that may ask.
        token: what requests must know; None where nobody else reaches it.
    """

    host: str
    port: int
    names: tuple[str, ...]
    origins: tuple[str, ...]
    token: str | None


def token_from(file: Path | None) -> str | None:
    """The token in a file, else that in the environment, if any.

    Raises:
        SettingError: the file cannot be read.
    """
    if file is None:
        return os.environ.get(ENVIRONMENT) or None
    try:
        with file.open("rb") as opened:
            return opened.read(LONGEST).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingError(f"the token in {file} cannot be read: {why}") from None


class _Server(uvicorn.Server):
    """uvicorn's, which ends when it is wished to, and leaves signals to `Stop`.

    Args:
        config: of uvicorn.
        stop: the wish.
    """

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self.stop = stop

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.stop.wanted

    def capture_signals(self) -> Any:
        return nullcontext()


def serve(
    run: Run,
    binding: Binding,
    limits: Limits,
    samples: int,
    joining: bool,
    count: int,
    ready: Callable[[str, Served], None],
) -> str | None:
    """Serve a run until somebody wishes an end; what was asked by then is answered first.

    Args:
        run: opened.
        binding: where, and who may ask.
        limits: of requests.
        samples: K, draws of z for each x that is scored.
        joining: whether requests that wait are computed together.
        count: CPU threads; 0 for as many as torch takes.
        ready: told the address by which this machine reaches it and what is served, once it is.

    Returns:
        The name of the signal that ended it.

    Raises:
        SettingError: the address is taken or is none, or others could reach it without a token.
    """
    Policy.of(binding.host, binding.port, binding.names, binding.origins, binding.token)  # before anything is opened
    with threads(count), _bound(binding.host, binding.port) as bound:
        port = bound.getsockname()[1]
        policy = Policy.of(binding.host, port, binding.names, binding.origins, binding.token)
        served = Served(run, limits, samples)
        application = Application(served, limits, policy, joining)
        quiet = logging.getLogger("uvicorn.error")  # what a stranger sends is no news
        quiet.handlers, quiet.propagate = [logging.NullHandler()], False
        bound.listen(BACKLOG)  # whoever is told the address may ask at once
        with Stop() as stop:
            server = _Server(_config(application, limits), stop)
            ready(f"http://{written(_here(binding.host))}:{port}/", served)
            try:
                server.run(sockets=[bound])
            finally:
                application.close()
            return stop.by


def _here(host: str) -> str:
    """The address by which this machine itself reaches a server that is bound to `host`."""
    return host if not is_every(host) else "::1" if ":" in host else "127.0.0.1"


def _config(application: Application, limits: Limits) -> uvicorn.Config:
    kind = type("Limited", (Patient,), {"limits": replace(limits, connections=min(limits.connections, _most_open()))})
    return uvicorn.Config(
        application.asgi,
        http=kind,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=int(limits.seconds + limits.body_seconds),
        h11_max_incomplete_event_size=limits.header,
    )


def _most_open() -> int:
    """Connections that this process may have open."""
    with suppress(ImportError):
        import resource

        return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)
    return 10**6


@contextmanager
def _bound(host: str, port: int) -> Any:
    """A socket that is bound there."""
    if not 0 <= port < 2**16:  # the system would take what is left of it
        raise SettingError(f"there is no port {port}; give 1 to 65535, or 0 for one that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # with its protocol, by which asyncio knows to send small packets at once
        bound = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SettingError(f"{host} port {port} cannot be served at: {why}; give another --host or --port") from None
    with bound:
        yield bound
