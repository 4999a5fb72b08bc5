"""How much memory there is to be had. It decides how things are kept, or that they cannot be, and never what they are."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux tells what a container may take."""


def free_memory() -> int | None:
    """Bytes that this process may still take before the machine or its container ends it; None where neither tells."""
    told = [found for found in (_container(), _machine()) if found is not None]
    return min(told, default=None)


def _machine() -> int | None:
    """Of the machine: what Linux calls available, else all that is fitted."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    if os.name == "nt":
        return _windows()
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _windows() -> int | None:
    """What Windows calls available."""
    import ctypes

    # MEMORYSTATUSEX: two 32-bit numbers, its own length and a load in percent, then seven 64-bit ones, available the second
    status = (ctypes.c_uint64 * 8)()
    status[0] = ctypes.sizeof(status)
    told = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status[2]) if told else None


def _container() -> int | None:
    """Of the container: its limit less what it holds and could not give back."""
    for limit, used, cache in (
        (GROUPS / "memory.max", GROUPS / "memory.current", "inactive_file"),
        (GROUPS / "memory/memory.limit_in_bytes", GROUPS / "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            stated = limit.read_text().strip()
            if stated == "max":
                return None
            facts = dict(line.split() for line in (limit.parent / "memory.stat").read_text().splitlines())
            return int(stated) - int(used.read_text()) + int(facts.get(cache, 0))
    return None


def exceeds(needed: int, share: float) -> bool:
    """Whether `needed` bytes are more than `share` of the memory that is free; False where nothing tells."""
    free = free_memory()
    return free is not None and needed > share * free


def gigabytes(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:,.1f} GB"
