"""Bytes as text of a page, seven bits a character where base64 has six: what takes a third more there takes a sixth here.

A value v from 0 to 127 is the character v, but for three that a parser of HTML would change or end at: NUL, the carriage
return and '<' are v + 128. The seven lower bits of a character are the value. UTF-8 has one byte for all but those three.
"""

from __future__ import annotations

import numpy as np

GROUP = 7
"""Bytes that become eight characters."""
UNSAFE = (0x00, 0x0D, 0x3C)


def dense(content: bytes) -> str:
    """The text: as many groups as there need to be, the last of them filled with zeros."""
    filled = np.frombuffer(content + bytes(-len(content) % GROUP), np.uint8).reshape(-1, GROUP)
    bits = np.unpackbits(filled, axis=1).reshape(-1, GROUP + 1, 7)
    values = np.packbits(bits, axis=2)[..., 0] >> 1
    characters = np.where(np.isin(values, UNSAFE), values + 128, values).astype(np.uint8)
    return characters.tobytes().decode("latin-1")
