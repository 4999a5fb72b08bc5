"""How many requests a second a ladder answers, with batching and without, how long they take, and what memory grows by.

    python bench/serving.py [SECONDS] [--rounds 2] [--requests 20000] [--ask sample] [--run FOLDER] [--data-dir DIR]

16 clients in a process of their own, each with one connection that it keeps, ask for one image at a time and ask again once
they have it, each time with another seed. The server is a process of its own too, `unveil serve` on 127.0.0.1; the servers
with and without batching alternate in rounds of SECONDS / rounds, and medians over rounds are compared. Memory is what the
process of the server with batching has resident, before and after so many more requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from urllib.request import Request, urlopen

CLIENTS = 16
WARM = 2_000
"""Requests before memory is looked at."""


class Client(asyncio.Protocol):
    """One connection that asks, waits for the whole answer, and asks again.

    Args:
        load: what is asked.
    """

    def __init__(self, load: Load) -> None:
        self.load, self.over = load, asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        request = self.load.next()
        if request is None:
            self.transport.close()
            self.over.set_result(None)
            return
        self.asked = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        if len(body) < int(length[1]):
            return
        self.load.done(perf_counter() - self.asked, head.startswith(b"HTTP/1.1 200"))
        self.buffer = b""
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionError("the server closed a connection"))


class Load:
    """What is asked, and how long it took.

    Args:
        port: of the server.
        kind: what to ask for.
        body: of a request; SEED in it is a new number in each.
        seconds: how long to ask.
        requests: how often to ask, at most.
    """

    def __init__(self, port: int, kind: str, body: str, seconds: float, requests: int | None = None) -> None:
        self.port, self.kind, self.body, self.requests = port, kind, body, requests
        self.taken: list[float] = []
        self.failed = self.asked = 0
        self.start = perf_counter()
        self.until = self.start + seconds

    def next(self) -> bytes | None:
        """The next request; None once there are none."""
        if perf_counter() > self.until or (self.requests is not None and self.asked >= self.requests):
            return None
        self.asked += 1
        body = self.body.replace("SEED", str(self.asked)).encode()
        head = f"POST /{self.kind} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def done(self, seconds: float, good: bool) -> None:
        """An answer came."""
        self.taken.append(seconds)
        self.failed += not good

    def run(self) -> Load:
        """Let all clients ask until the end."""

        async def together() -> None:
            loop = asyncio.get_running_loop()
            pairs = [await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port) for _ in range(CLIENTS)]
            await asyncio.gather(*[client.over for _, client in pairs])

        asyncio.run(together())
        self.until = perf_counter()
        return self

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.taken) / (self.until - self.start)


@contextmanager
def server(run: Path, *options: str) -> Iterator[tuple[int, int]]:
    """The port and the process id of a server, as long as it is needed."""
    command = [sys.executable, "-m", "unveil", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = None
            while port is None and (line := process.stdout.readline()):
                found = re.search(r"http://127\.0\.0\.1:(\d+)/ ", line)
                port = int(found[1]) if found else None
            if port is None:
                raise SystemExit("the server did not start")
            yield port, process.pid
        finally:
            process.terminate()


def resident(pid: int) -> float:
    """MiB of memory that a process has resident."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def trained(folder: Path, data_dir: str | None) -> Path:
    """A ladder, trained for an instant: how good it is does not matter here."""
    import torch

    import unveil

    data = unveil.load("mnist", data_dir=data_dir)
    data = replace(data, train=data.train.subset(torch.arange(2_000)))
    path = unveil.train(data, recipe="ladder", out=folder / "ladder", epochs=1).path
    assert path is not None
    return path


def question(kind: str, port: int) -> str:
    """The body of a request of that kind."""
    if kind == "sample":
        return '{"n":1,"seed":SEED}'
    address, head = f"http://127.0.0.1:{port}/sample", {"Content-Type": "application/json"}
    with urlopen(Request(address, b'{"n":1,"seed":0}', head, method="POST")) as answer:
        x = json.load(answer)["x"]
    return json.dumps({"x": x} | ({"seed": "SEED"} if kind == "score" else {})).replace('"SEED"', "SEED")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--ask", choices=("sample", "encode", "reconstruct", "score"), default="sample")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        run = given.run or trained(Path(room), given.data_dir)
        loads: dict[str, list[Load]] = {"--batching": [], "--no-batching": []}
        with server(run) as (port, pid), server(run, "--no-batching") as (other, _):
            ports = {"--batching": port, "--no-batching": other}
            body = question(given.ask, port)
            for _ in range(given.rounds):
                for way, where in ports.items():
                    loads[way].append(Load(where, given.ask, body, given.seconds / given.rounds).run())
            Load(port, given.ask, body, 600.0, WARM).run()
            before = resident(pid)
            last = Load(port, given.ask, body, 600.0, given.requests).run()
            after = resident(pid)
    rates = {way: median(load.rate for load in those) for way, those in loads.items()}
    for way, those in loads.items():
        taken = [1e3 * one for load in those for one in load.taken]
        cuts = quantiles(taken, n=100)
        failed = sum(load.failed for load in those)
        print(
            f"{way}: {rates[way]:,.0f} requests/s, {len(taken):,} in all, {failed} failed; "
            f"ms: median {cuts[49]:.1f}, 90% {cuts[89]:.1f}, 99% {cuts[98]:.1f}, most {max(taken):.1f}"
        )
    print(f"ratio of requests/s with batching and without: {rates['--batching'] / rates['--no-batching']:.2f}")
    print(f"memory: {before:.1f} MiB, after {len(last.taken):,} more requests {after:.1f} MiB: {after - before:+.1f} MiB")


if __name__ == "__main__":
    main()
