"""A request that is not served, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping

MOST = 300
"""Characters of a reason; what is quoted of a request is the request's own."""


class Refusal(Exception):
    """Answered as {"error": reason}, with a status of 4xx, or 503 where the server is to blame.

    Args:
        status: of HTTP.
        reason: what was given, why it cannot be, and what to do, in one line.
        headers: beside those that every answer has.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, dict(headers or {})
        self.reason = reason if len(reason) <= MOST else f"{reason[:MOST]}..."


def busy(why: str) -> Refusal:
    """503, to be asked again in a second."""
    return Refusal(503, f"{why}; ask again in a second", {"Retry-After": "1"})


def shown(given: object) -> str:
    """What was given, as JSON has it, short enough to be said."""
    if isinstance(given, (list, dict)):  # however long it is
        return f"a list of {len(given):,}" if isinstance(given, list) else "an object"
    text = json.dumps(given, ensure_ascii=False)  # what is answered is escaped as a whole
    return text if len(text) <= 40 else f"{text[:40]}..."


def plain(given: str) -> str:
    """Text as `shown`, in ASCII: for a log, whatever reads that."""
    return ascii(shown(given))[1:-1]
