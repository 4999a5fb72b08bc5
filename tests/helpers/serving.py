"""A server to ask: in this process, or one of its own with real sockets."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx

from unveil.serving.application import Application
from unveil.serving.batching import Kind
from unveil.serving.guard import Policy
from unveil.serving.limits import Limits
from unveil.serving.served import Served
from unveil.serving.together import Piece

BASE = "http://127.0.0.1:8000"


class Asked:
    """An application in this process, asked one request after another, or several at once."""

    def __init__(self, run, limits=None, joining=True, samples=20, **policy):
        self.limits = limits or Limits()
        self.served = Served(run, self.limits, samples)
        policy = Policy.of(policy.pop("host", "127.0.0.1"), 8000, **policy)
        self.application = Application(self.served, self.limits, policy, joining)

    def __call__(self, method, path, **options):
        return self.together([(method, path, options)])[0]

    def together(self, requests, held=False):
        """The answers to requests that are sent at once; `held`: nothing is computed before all of them wait."""

        async def ask():
            transport, gate = httpx.ASGITransport(self.application.asgi), threading.Event()
            batcher, first = self.application.batcher, Kind("gate", lambda pieces: [{}] * gate.wait(), 1)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                opened = [asyncio.create_task(batcher.answer(first, [Piece(1, 0, {})]))] if held else []
                await asyncio.sleep(0)
                tasks = [asyncio.create_task(client.request(how, path, **rest)) for how, path, rest in requests]
                while held and batcher._requests + sum(task.done() for task in tasks) <= len(tasks):
                    await asyncio.sleep(0.001)
                gate.set()
                return (await asyncio.gather(*opened, *tasks))[len(opened) :]

        return asyncio.run(ask())

    def post(self, path, body, **options):
        return self("POST", path, json=body, **options)

    def close(self):
        self.application.close()


def refused(answer, status, *words):
    """The reason of a refusal, one line that has these words."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    reason = answer.json()["error"]
    assert "\n" not in reason
    assert len(reason) < 400
    for word in words:
        assert word in reason
    return reason


@contextmanager
def server(run, *options, code=143, program=None):
    """The port and the process of `unveil serve`, or of a program that takes its arguments; it ends with SIGTERM."""
    begin = ["-m", "unveil", "serve"] if program is None else [str(program)]
    command = [sys.executable, *begin, str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        try:
            while (found := re.search(r"at http://\S+:(\d+)/ ", said)) is None:
                line = process.stdout.readline()
                assert line, said + process.stderr.read()
                said += line
            yield int(found[1]), process
        finally:
            process.terminate()
            errors = process.communicate(timeout=60)[1]
    assert "Traceback" not in errors, errors
    assert process.returncode == code, errors


def spoken(port, *parts, timeout=20.0):
    """What a server answers to bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as one:
        for part in parts:
            one.sendall(part)
        return drained(one)


def drained(one):
    received = b""
    while chunk := one.recv(65536):
        received += chunk
    return received


def answered(one):
    """One whole answer of a connection that stays."""
    received = b""
    while (found := re.search(rb"content-length: (\d+)(?s:.*?)\r\n\r\n", received, re.IGNORECASE)) is None or len(
        received
    ) < found.end() + int(found[1]):
        chunk = one.recv(65536)
        assert chunk, received
        received += chunk
    return received


def head(port, path="/sample", method="POST", **headers):
    """The head of a request; the connection ends after its answer."""
    lines = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{told}\r\n".encode()
