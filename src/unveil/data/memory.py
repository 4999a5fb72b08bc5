"""How much memory this machine has, which decides how rows are kept and never what they are."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes of this machine's memory; 0 where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def exceeds(needed: int, share: float) -> bool:
    """Whether `needed` bytes are more than `share` of the memory."""
    return 0 < share * memory() < needed


def gigabytes(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.1f} GB"
