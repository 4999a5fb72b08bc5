"""From bytes to JSON: a body that cannot be is refused while it arrives, or before anything is made of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import isfinite
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from unveil.serving.limits import Limits
from unveil.serving.refusal import Refusal, busy, shown

DIGITS = 20
"""Digits of a whole number that is kept as one; no field takes a longer one."""
JSON = "application/json"
IMAGES = ("image/png", "image/jpeg")


class Bodies:
    """Reads the bodies of requests, of which all together may fill only so much memory.

    Args:
        limits: of one, and of all.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held = 0

    @asynccontextmanager
    async def whole(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, which counts for as long as it is held.

        Raises:
            Refusal: 413 for one that is too long, by what it says or by what arrives, 408 for one that arrives too slowly,
                415 for a compressed one, 503 where too many are held.
        """
        self._refuse(request.headers)
        body = bytearray()
        try:
            await self._fill(body, request)
            yield bytes(body)
        finally:
            self._held -= len(body)

    def _refuse(self, headers: Headers) -> None:
        """See that a body is not refused by what is said of it."""
        encoding = headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise Refusal(
                415, f"a body cannot be encoded as {shown(encoding)}; send it as it is", {"Accept-Encoding": "identity"}
            )
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdecimal() and int(length) > self.limits.body:
            raise self._too_long()

    async def _fill(self, body: bytearray, request: Request) -> None:
        """Put into `body` what arrives."""
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > self.limits.body:
                        raise self._too_long()
                    if self._held > self.limits.bodies:
                        raise busy("the bodies of other requests fill the memory there is for them")
        except TimeoutError:
            raise Refusal(
                408,
                f"the body did not arrive within {self.limits.body_seconds:g} s; send it at once",
            ) from None
        except ClientDisconnect:
            raise Refusal(400, "the body ended before its end; send all of it") from None

    def _too_long(self) -> Refusal:
        return Refusal(413, f"a body cannot have more than {self.limits.body:,} bytes; ask for fewer examples at a time")


def media_type(request: Request) -> str:
    """What a body is said to be.

    Raises:
        Refusal: 415 for JSON in another encoding than UTF-8.
    """
    given = request.headers.getlist("content-type")
    kind, *parameters = (given[0] if len(given) == 1 else "").split(";")
    kind = kind.strip().lower()
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise Refusal(415, f"JSON is written in UTF-8, not in {shown(value)}; encode it so")
    return kind


def parsed(body: bytes) -> Any:
    """What JSON says.

    Raises:
        Refusal: 400 for what is no JSON, or JSON that says two things or none: names given twice, NaN, infinities, lists
            within lists without end.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_float=_finite,
            parse_int=lambda text: int(text) if len(text) <= DIGITS else _finite(text),
        )
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8 at byte {error.start:,}; encode it so") from None
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is no JSON at character {error.pos:,} ({error.msg}); send a JSON object") from None
    except RecursionError:
        raise Refusal(
            400, "the body has lists or objects within one another without end; send plain nested lists"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # each name is looked at once: a body has room for a million of them
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise Refusal(400, f"the name {shown(twice)} stands twice in an object; give it once")
    return found


def _constant(text: str) -> float:
    raise Refusal(400, f"JSON has no {text}; give a number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise Refusal(400, f"{shown(text)} is more than any number here; give a smaller one")
    return number
