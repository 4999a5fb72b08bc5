"""How much one request, one connection and all of them together may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from unveil.errors import SettingError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What is refused beyond.

    Attributes:
        examples: most examples in one request.
        numbers: most numbers in what one request gives or gets.
        body: bytes of a body.
        bodies: bytes of all bodies that are held, being received or to be read.
        pixels: of an image.
        scans: of a JPEG, each of which goes over all of its pixels.
        header: bytes of what precedes a body.
        queue: requests that wait to be computed.
        connections: open at once; beyond that, those that have waited longest for a request are closed.
        seconds: for a request to be answered once it is there.
        header_seconds: for what precedes a body to arrive.
        body_seconds: for a body to arrive.
        idle_seconds: that a connection is kept without a request.
    """

    examples: int = 256
    numbers: int = 2**20
    body: int = 8 * MIB
    bodies: int = 256 * MIB
    pixels: int = 2**24
    scans: int = 100
    header: int = 16 * 2**10
    queue: int = 256
    connections: int = 1000
    seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    idle_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise SettingError(f"a limit of {getattr(self, field.name)} {field.name} leaves nothing; give more than 0")

    def of(self, size: int) -> int:
        """Most examples of `size` numbers each in one request."""
        return max(1, min(self.examples, self.numbers // max(size, 1)))
