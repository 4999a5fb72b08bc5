"""The application: each request to its rows, their work to the queue, and what is found to an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from torch import Tensor

from unveil.data.images.decode import BadImageError, Blob, Frame, decode, header
from unveil.serving.answers import TEXT, chosen, json_answer, written
from unveil.serving.batching import Batcher
from unveil.serving.bodies import IMAGES, JSON, Bodies, media_type, parsed
from unveil.serving.endpoints import Endpoint, endpoints
from unveil.serving.guard import Guard, Policy
from unveil.serving.limits import Limits
from unveil.serving.openapi import openapi
from unveil.serving.refusal import Refusal, busy, shown
from unveil.serving.served import Served
from unveil.serving.together import Found

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAGIC = (PNG, JPEG)
"""What PNG and JPEG files begin with."""
SCAN = b"\xff\xda"
"""What a scan of a JPEG begins with."""
WAYS = {JSON: "a JSON object", IMAGES[0]: "a PNG", IMAGES[1]: "a JPEG"}


class Application:
    """Answers requests.

    Args:
        served: what is served.
        limits: of requests.
        joining: whether requests that wait are computed together.
    """

    def __init__(self, served: Served, limits: Limits, policy: Policy, joining: bool = True) -> None:
        self.served, self.limits = served, limits
        self.batcher = Batcher(limits.queue, limits.seconds, joining)
        self._bodies, self._decoder = Bodies(limits), ThreadPoolExecutor(1, "unveil-images")
        offered = endpoints(served)
        self._overview = {**served.overview(), "endpoints": [f"POST /{one.name}" for one in offered]}
        self._description = written(openapi(served, offered, limits, policy.token is not None))
        routes = [Route(f"/{one.name}", self._answering(one), methods=["POST"]) for one in offered]
        pages = {"/": self._root, "/health": self._health, "/openapi.json": self._described}
        routes += [Route(path, page, methods=["GET"]) for path, page in pages.items()]
        self._router = Router(routes, redirect_slashes=False)
        self.asgi: ASGIApp = Guard(self._routed, policy)

    def close(self) -> None:
        """End the threads, each with what it is at."""
        self._decoder.shutdown(wait=False, cancel_futures=True)
        self.batcher.close()

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # for the router to raise what it does not find
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise self._nowhere(scope, error) from None

    # what is there to be read

    async def _root(self, request: Request) -> Response:
        accept = request.headers.get("accept", "*/*")
        # a browser asks for a page first: it gets text, in which no name is markup
        wanted = TEXT if "text/html" in accept else chosen(accept, (JSON, TEXT))
        if wanted == JSON:
            return json_answer(self._overview)
        return Response(told(self._overview), media_type=TEXT)

    async def _health(self, request: Request) -> Response:
        return json_answer({"status": "ok"})

    async def _described(self, request: Request) -> Response:
        return Response(self._description, media_type=JSON)

    def _nowhere(self, scope: Scope, error: HTTPException) -> Refusal:
        """404 and 405."""
        path, name = shown(scope["path"]), scope["path"].strip("/")
        if error.status_code == 405:
            allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
            reason = f"{path} cannot be asked by {shown(scope['method'])}; ask by {allowed}"
            return Refusal(405, reason, {"Allow": allowed})
        why = f"; this model cannot: {self.served.cannot[name]}" if name in self.served.cannot else ""
        known = ", ".join(self._overview["endpoints"])
        return Refusal(error.status_code, f"there is nothing at {path}{why}; known: {known}, GET /, GET /openapi.json")

    # what is asked

    def _answering(self, endpoint: Endpoint) -> Any:
        async def answer(request: Request) -> Response:
            media = chosen(request.headers.get("accept", "*/*"), endpoint.offered)
            asked = endpoint.asked(await self._values(request, endpoint))
            found = await _unless_gone(request, self.batcher.answer(self.served.kinds[asked.kind], asked.pieces))
            return asked.answer(_whole(found), media)

        return answer

    async def _values(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        """The fields of a request: of its JSON, or of an image and its query."""
        media = media_type(request)
        taken = (JSON, *IMAGES) if endpoint.image else (JSON,)
        if media not in taken:
            ways = " or ".join(f"{WAYS[one]} as {one}" for one in taken)
            raise Refusal(415, f"the body cannot be {shown(media) if media else 'of no media type'}; send {ways}")
        values = endpoint.form.read_query(_query(request))  # which counts beside an image alone
        async with self._bodies.whole(request) as body:
            if media == JSON:
                values = endpoint.form.read(parsed(body))
            elif endpoint.image:
                values[endpoint.image] = await self._pixels(body)
        endpoint.form.complete(values)
        return values

    async def _pixels(self, body: bytes) -> Tensor:
        """(1, C, H, W) x of an encoded image. One at a time, beside the loop: a few bytes can be many pixels."""
        if not body.startswith(MAGIC):
            raise Refusal(400, "the body is no PNG or JPEG; send one, or a JSON object as application/json")
        try:
            async with asyncio.timeout(self.limits.seconds):
                pixels = await asyncio.get_running_loop().run_in_executor(self._decoder, self._decoded, body)
        except BadImageError as error:
            raise Refusal(400, f"the image cannot be read: {error.reason}") from None
        except TimeoutError:
            raise busy("too many images are to be read") from None
        space = self.served.facts.space
        x = torch.from_numpy(np.array(pixels)).float()[None]
        return x if space.measure == "levels" else x / 255

    def _decoded(self, body: bytes) -> np.ndarray:
        """(C, H, W) bytes of an encoded image, if it is not too much work."""
        blob, limits, facts = Blob("the image", body), self.limits, self.served.facts
        height, width = header(blob).size
        if height * width > limits.pixels:
            raise BadImageError(blob, f"{width} x {height} pixels are more than {limits.pixels:,}; shrink it first")
        # within what a scan holds these bytes do not stand, and each scan is a pass over all pixels
        if body.startswith(JPEG) and body.count(SCAN) > limits.scans:
            raise BadImageError(blob, f"it has more than {limits.scans} scans; save it anew")
        channels, *size = facts.space.shape
        return decode(blob, Frame((size[0], size[1]), channels, facts.fit))  # type: ignore[arg-type]


async def _unless_gone(request: Request, work: Coroutine[Any, Any, list[Found]]) -> list[Found]:
    """What is found, unless whoever asks hangs up: their place is for others then."""
    waiting, leaving = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise Refusal(400, "whoever asked has gone")
        return waiting.result()
    finally:
        for one in (waiting, leaving):
            one.cancel()


def _query(request: Request) -> Mapping[str, str]:
    """The query, in which each name stands once."""
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) < len(pairs):
        raise Refusal(422, "a name stands twice in the query; give it once")
    return dict(pairs)


def _whole(found: Sequence[Found]) -> Found:
    """What was found of all rows of a request."""
    return found[0] if len(found) == 1 else {name: torch.cat([one[name] for one in found]) for name in found[0]}


def told(overview: Mapping[str, Any]) -> str:
    """An overview as lines of text."""
    lines = []
    for name, value in overview.items():
        if name == "figures":
            lines += [
                f"{one['name']}: {one['value']:,.2f} ± {one['stderr']:,.2f} {one['unit']} (n = {one['n']:,})"
                for one in value
            ]
        elif isinstance(value, dict):
            lines += [f"{name} {part}: {why}" for part, why in value.items()]
        elif value not in ("", None, []):
            lines.append(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(" ".join(line.split()) for line in lines) + "\n"
