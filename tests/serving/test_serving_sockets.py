"""A server in a process of its own, asked by real sockets: slow ones, endless ones, and its end."""

import http.client
import json
import os
import re
import signal
import socket
import threading
from contextlib import ExitStack

import pytest
from helpers.serving import answered, drained, head, server, spoken

from unveil.serving.protocol import _Lingering

GOOD = b'{"n": 1, "seed": 0}'


def body_of(answer):
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)


def ask(port, body=GOOD):
    return body_of(spoken(port, head(port, Content_Length=str(len(body))), body))


def chunked(*parts):
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)


def test_one_connection_serves_many_requests_and_pipelined_ones(port):
    one = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    answers = set()
    for _ in range(20):
        one.request("POST", "/sample", GOOD, {"Content-Type": "application/json"})
        answers.add(one.getresponse().read())
    one.close()
    assert len(answers) == 1
    again = head(port, Content_Length=str(len(GOOD)), Connection=None) + GOOD
    last = head(port, Content_Length=str(len(GOOD))) + GOOD
    assert spoken(port, again * 3 + last).count(b"HTTP/1.1 200 OK") == 4


def test_a_chunked_body_is_counted_while_it_arrives(port):
    start = head(port, Transfer_Encoding="chunked")
    status, found = body_of(spoken(port, start, chunked(GOOD[:7]), chunked(GOOD[7:]), b"0\r\n\r\n"))
    assert (status, found["seed"]) == (200, 0)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(start)
        for _ in range(2**23 // 2**16 + 1):
            one.sendall(chunked(b" " * 2**16))
        status, found = body_of(answered(one))  # although there is no end of the body
    assert status == 413
    assert "8,388,608 bytes" in found["error"]


def test_a_body_with_two_ends_is_refused_and_nothing_after_it_is_read(port):
    """A proxy that believes the other end takes what follows for a part of the body, or a part of it for what follows."""
    start = head(port, Transfer_Encoding="chunked", Content_Length="5", Connection=None)
    next_one = head(port, Content_Length=str(len(GOOD))) + GOOD
    answer = spoken(port, start + chunked(GOOD) + b"0\r\n\r\n" + next_one)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert body_of(answer)[0] == 400


def test_who_is_in_the_middle_of_too_long_a_body_is_told_so(port):
    """As many send it: all of it, without looking whether somebody answers."""
    body = b" " * (2**23 + 2**20)
    assert body_of(spoken(port, head(port, Content_Length=str(len(body))), body))[0] == 413
    assert body_of(spoken(port, head(port, Content_Type="text/plain", Content_Length=str(len(body))), body))[0] == 415


class Clockwork:
    """A loop whose time passes when the test says so, and a transport with something left to be sent."""

    def __init__(self):
        self.now, self.later, self.left, self.done = 0.0, [], 7, []

    def time(self):
        return self.now

    def call_soon(self, then):
        self.later.append((self.now, then))

    def call_later(self, seconds, then):
        self.later.append((self.now + seconds, then))

    def pass_to(self, now):
        self.now = now
        due = [one for one in self.later if one[0] <= now]
        self.later = [one for one in self.later if one[0] > now]
        for _, then in due:
            then()

    def get_write_buffer_size(self):
        return self.left

    def is_closing(self):
        return "abort" in self.done

    def __getattr__(self, name):
        return lambda *given: self.done.append((name, *given) if given else name)


@pytest.mark.parametrize("reads", [True, False])
def test_a_connection_ends_after_the_last_of_it_was_sent_or_nobody_reads_it(reads):
    clock = Clockwork()
    one = _Lingering(clock, clock, patience=10.0)
    one.write(b"head ")
    one.write(b"body")
    one.close()
    one.close()
    assert clock.done == [("write", b"head body"), "write_eof", "resume_reading"]
    for second in range(1, 9):
        clock.pass_to(second)
    assert "abort" not in clock.done
    clock.left = 0 if reads else 7
    clock.pass_to(9)
    assert ("abort" in clock.done) == reads
    clock.pass_to(10)
    assert clock.done[-1] == "abort"


def test_a_body_that_says_to_be_too_long_is_refused_before_it_is_sent(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(head(port, Content_Length=str(10**12), Expect="100-continue", Connection=None))
        answer = answered(one)
    assert body_of(answer)[0] == 413


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        b"POST /sample HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /sample HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /sample HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2**17 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % number for number in range(3_000)) + b"\r\n",
    ],
)
def test_what_is_no_request_is_told_so_in_json(raw, port):
    status, found = body_of(spoken(port, raw))
    assert status == 400
    assert list(found) == ["error"]
    assert ask(port)[0] == 200


@pytest.mark.parametrize(
    "start",
    [
        b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_for_another_server_is_not_served(start, port):
    status, found = body_of(spoken(port, start.replace(b"PORT", str(port).encode())))
    assert 400 <= status < 500
    assert list(found) == ["error"]


SLOW = 400
NARROW = {"header_seconds": 2.0, "body_seconds": 2.0, "idle_seconds": 2.0, "connections": 450}
PROGRAM = f"""
import sys
from dataclasses import replace
from unveil.cli import serving
from unveil.serving.limits import Limits

standard = Limits()
serving.Limits = lambda: replace(standard, **{NARROW})
sys.exit(serving.serve(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def hasty(runs, tmp_path_factory):
    """A server that waits two seconds where others wait ten, with few places."""
    program = tmp_path_factory.mktemp("programs") / "hasty.py"
    program.write_text(PROGRAM)
    with server(runs["flat"].path, "--samples", "2000", "--queue", "4", program=program) as (number, _):
        yield number


def test_400_slow_sockets_hurt_nobody_and_are_let_go(hasty):
    """A hundred say nothing, a hundred stop in a head, a hundred in a body, and a hundred send theirs drop by drop."""
    starts = [b"", b"POST /sample HT", head(hasty, Content_Length="1000") + b"{", head(hasty, Transfer_Encoding="chunked")]
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", hasty), timeout=20)) for _ in range(SLOW)]
        for number, one in enumerate(slow):
            one.sendall(starts[number % 4])
        drops = threading.Event()

        def dripping():
            while not drops.wait(0.2):
                for one in slow[3::4]:
                    try:
                        one.sendall(chunked(b" "))
                    except OSError:
                        return

        thread = threading.Thread(target=dripping)
        thread.start()
        assert all(ask(hasty)[0] == 200 for _ in range(20))
        told = [drained(one) for one in slow]  # ends when the server closes each
        drops.set()
        thread.join()
    assert {body_of(one)[0] for one in told if one} == {408}
    assert sum(map(bool, told)) == SLOW, "each is told why"
    assert ask(hasty)[0] == 200


def test_a_connection_between_requests_is_kept_for_a_while_and_no_longer(hasty):
    with socket.create_connection(("127.0.0.1", hasty), timeout=20) as one:
        one.sendall(head(hasty, Content_Length=str(len(GOOD)), Connection=None) + GOOD)
        assert drained(one).startswith(b"HTTP/1.1 200")  # and then the end, for which this waits


def test_where_all_places_are_taken_the_one_that_waited_longest_gives_way(hasty):
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(("127.0.0.1", hasty), timeout=20))
        # once it is answered it waits, and nobody has waited longer
        first.sendall(head(hasty, Content_Length=str(len(GOOD)), Connection=None) + GOOD)
        assert answered(first).startswith(b"HTTP/1.1 200")
        others = [stack.enter_context(socket.create_connection(("127.0.0.1", hasty), timeout=20)) for _ in range(450)]
        status, found = body_of(drained(first))
        assert (status, list(found)) == (503, ["error"])
        others[-1].sendall(head(hasty, Content_Length=str(len(GOOD))) + GOOD)
        assert drained(others[-1]).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("signal_", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_asked_is_answered_before_the_end(signal_, code, runs):
    """The server has begun to read a request when the signal comes: its answer, the work of a second, is whole."""
    with server(runs["flat"].path, "--samples", "3000", code=code) as (port, process):
        body = json.dumps({"x": ask(port)[1]["x"] * 100}).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=50) as one:
            one.sendall(head(port, "/score", Content_Length=str(len(body)), Connection=None, Expect="100-continue"))
            assert one.recv(1_000).startswith(b"HTTP/1.1 100")
            os.kill(process.pid, signal_)
            one.sendall(body)
            answer = drained(one)
        assert len(body_of(answer)[1]["nats"]) == 100
        process.wait(30)
        assert re.search(rf"try: curl http://127\.0\.0\.1:{port}/sample --json", process.stdout.read())
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_flood_is_told_when_to_ask_again_and_a_calm_after_it_is_served(hasty):
    port, x = hasty, ask(hasty)[1]["x"] * 20
    body = json.dumps({"x": x}).encode()
    with ExitStack() as stack:
        flood = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=50)) for _ in range(60)]
        for one in flood:
            one.sendall(head(port, "/score", Content_Length=str(len(body))) + body)
        answers = [drained(one) for one in flood]
    statuses = [body_of(answer)[0] for answer in answers]
    assert set(statuses) == {200, 503}
    assert all(b"retry-after: 1" in answer for answer, status in zip(answers, statuses, strict=True) if status == 503)
    assert ask(port)[0] == 200
