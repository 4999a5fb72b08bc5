"""Servers that send too little, too much, something else, or nothing, and processes that all want the same file at once."""

import gzip
import hashlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import unveil
from unveil.data import mnist

FETCH = """
import json, sys
from dataclasses import replace
from unveil.data import mnist
import unveil
told = json.loads(sys.argv[2])
mnist.MIRRORS, mnist.TIMEOUT = tuple(told["mirrors"]), 0.5
mnist.FILES.update({part: replace(mnist.FILES[part], **facts) for part, facts in told["files"].items()})
print(unveil.load("mnist", data_dir=sys.argv[1]).fingerprint)
"""


def small():
    """Four small files: what is in them, and what a mirror would send."""
    source, facts, sent = np.random.default_rng(0), {}, {}
    for part, file in mnist.FILES.items():
        shape = (100 if "train" in part else 20, *((28, 28) if file.dims == 3 else ()))
        header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        content = header + source.integers(0, 10, shape, dtype=np.uint8).tobytes()
        facts[part] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sent[file.name + ".gz"] = gzip.compress(content)
    return facts, sent


def short(handler, body):
    handler.answer(body[: len(body) // 2], len(body))


def page(handler, body):
    handler.answer(b"<html>back soon</html>")


def flipped(handler, body):
    handler.answer(body[:-30] + bytes([body[-30] ^ 1]) + body[-29:])


def endless(handler, body):
    handler.answer(body + bytes(2**22))


def silent(handler, body):
    handler.server.over.wait(20)


def broken(handler, body):
    handler.send_error(503)


TROUBLES = (short, page, flipped, endless, silent, broken)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        with self.server.lock:
            self.server.asked[name] = self.server.asked.get(name, 0) + 1
            trouble = self.server.trouble if self.server.asked[name] <= self.server.times else None
        if trouble is None:
            self.answer(self.server.sent[name])
        else:
            trouble(self, self.server.sent[name])

    def answer(self, body, stated=None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if stated is None else stated))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    """A server, and what the process that asks it must be told."""
    facts, sent = small()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.sent, http.asked, http.lock, http.over = sent, {}, threading.Lock(), threading.Event()
    http.handle_error = lambda *args: None  # whoever asks may hang up
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield http, json.dumps({"files": facts, "mirrors": [f"http://127.0.0.1:{http.server_port}/"]})
    http.over.set()
    http.shutdown()


def fetching(folder, told):
    command = [sys.executable, "-c", FETCH, str(folder), told]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_a_mirror_in_trouble_is_asked_again_and_its_bad_bytes_never_arrive(trouble, mirror, tmp_path):
    http, told = mirror
    said = json.loads(told)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mnist, "MIRRORS", tuple(said["mirrors"]))
        patched.setattr(mnist, "TIMEOUT", 0.3)
        patched.setattr(
            mnist, "FILES", {part: replace(mnist.FILES[part], **facts) for part, facts in said["files"].items()}
        )
        http.trouble, http.times = trouble, 3
        with pytest.raises(mnist.NotFoundError, match=r"could not be fetched; tried http://127.0.0.1:\d+/ \("):
            unveil.load("mnist", data_dir=tmp_path)
        assert set(http.asked.values()) == {3}
        assert not list((tmp_path / "mnist").iterdir())
        http.asked.clear()
        http.times = 2
        assert len(unveil.load("mnist", data_dir=tmp_path).test) == 20
        assert set(http.asked.values()) == {3}
        assert {path.name: path.read_bytes() for path in (tmp_path / "mnist").iterdir()} == http.sent


def test_four_processes_at_once(mirror, tmp_path, found):
    http, told = mirror
    http.trouble, http.times = short, 2
    processes = [fetching(tmp_path, told) for _ in range(4)]
    outcomes = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outcomes
    assert len({out for out, _ in outcomes}) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "mnist").iterdir()} == http.sent
    names = ", ".join(trouble.__name__ for trouble in TROUBLES)
    found(f"downloads from a server that is {names}", "asked again; no bad byte entered the cache")
    found("four processes that fetch the same files at once", "all read the same data; whole files, nothing else stayed")
