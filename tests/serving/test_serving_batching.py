"""The queue by itself: which pieces go into a pass together, and whose are left out."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager

import pytest

from unveil.serving.batching import Batcher, Kind
from unveil.serving.together import Piece


@pytest.fixture
def batcher():
    one = Batcher(queue=20, seconds=20.0)
    yield one
    one.close()


@asynccontextmanager
async def held(batcher):
    """Within, the thread that computes is at something else."""
    gate = threading.Event()
    at_work = asyncio.create_task(batcher.answer(Kind("gate", lambda pieces: [{}] * gate.wait(20), 1), [Piece(1, 0, {})]))
    while not batcher._requests or batcher._jobs:
        await asyncio.sleep(0.001)
    yield
    gate.set()
    await at_work


async def waiting(batcher, count):
    while batcher._requests != count:
        await asyncio.sleep(0.001)


def noting(rows):
    """Work that notes the seeds of each pass, and the list of these."""
    passes = []

    def work(pieces):
        passes.append([piece.seed for piece in pieces])
        return [{} for _ in pieces]

    return Kind("noted", work, rows), passes


def test_a_pass_has_no_more_rows_than_it_may(batcher):
    kind, passes = noting(rows=4)

    async def ask():
        async with held(batcher):
            asked = [asyncio.create_task(batcher.answer(kind, [Piece(rows, rows, {})])) for rows in (3, 2, 1, 4)]
            await waiting(batcher, 5)
        await asyncio.gather(*asked)

    asyncio.run(ask())
    assert passes == [[3, 1], [2], [4]]


def test_what_nobody_waits_for_is_in_no_pass(batcher):
    kind, passes = noting(rows=9)

    async def ask():
        async with held(batcher):
            asked = [asyncio.create_task(batcher.answer(kind, [Piece(1, seed, {})])) for seed in range(5)]
            await waiting(batcher, 6)
            for place in (0, 2):
                asked[place].cancel()
            await waiting(batcher, 4)
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(ask())
    assert passes == [[1, 3, 4]]


def test_whoever_hangs_up_leaves_the_queue(asked):
    """Their connection ends once their request has been read, and before it was computed."""
    application, gone = asked["flat"].application, asyncio.Event()
    body = json.dumps({"n": 1, "seed": 0}).encode()
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/sample", "query_string": b"", "headers": headers}
    messages = [{"type": "http.request", "body": body}]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    async def ask():
        async with held(application.batcher):
            request = asyncio.create_task(application.asgi(scope, receive, send))
            await waiting(application.batcher, 2)
            gone.set()
            await asyncio.wait_for(request, 20)
            assert application.batcher._requests == 1
            assert all(job.given_up for job in application.batcher._jobs)

    asyncio.run(ask())
