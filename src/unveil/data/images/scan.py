"""Which files a folder holds: every one once, in an order that depends on names alone."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
"""Of names that are taken for images. Others are left alone, but counted."""

ARCHIVE = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz|tzst|zip|7z|rar)$", re.IGNORECASE)
"""How names of archives end, which are left alone where no shards are sought, but named."""
NAMED = 3
"""Archives that are named in a line."""

Identity = tuple[int, int]
"""Device and number of a file, the same by whatever name it is met."""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes:
        root: the folder.
        files: paths of what was sought below it, relative, sorted.
        bad: what cannot be read, relative, with the reason.
        others: how many files have names of other kinds.
        archives: which have names of archives, relative, sorted; `others` does not count them.
    """

    root: Path
    files: tuple[Path, ...]
    bad: tuple[tuple[Path, str], ...]
    others: int
    archives: tuple[Path, ...] = ()

    def packed(self) -> str:
        """The first archives by their names, and how many more."""
        more = len(self.archives) - NAMED
        return ", ".join(map(str, self.archives[:NAMED])) + (f" and {more:,} more" if more > 0 else "")


def scan(root: Path, endings: tuple[str, ...] = ENDINGS) -> Listing:
    """Walk a folder for files with these endings.

    Links are followed, what is met twice by them is taken once, and no pipe or device is opened.
    """
    files: dict[Path, Identity] = {}
    links: dict[Path, Identity] = {}
    bad: list[tuple[Path, str]] = []
    archives: list[Path] = []
    others, waiting, entered = 0, [Path()], set()
    while waiting:
        folder = waiting.pop()
        try:
            entered.add(_identity((root / folder).stat()))
            names = sorted(path.name for path in (root / folder).iterdir())
        except OSError as error:
            bad.append((folder, _said(error)))
            continue
        for here in (folder / name for name in names if not name.startswith(".")):
            try:
                facts = (root / here).stat()
            except OSError as error:  # a link to nothing, say, or to itself
                bad.append((here, _said(error)))
                continue
            if stat.S_ISDIR(facts.st_mode):
                if _identity(facts) not in entered:  # a loop of links ends here
                    entered.add(_identity(facts))
                    waiting.append(here)
            elif here.suffix.lower() not in endings:
                packed = ARCHIVE.search(here.name) is not None
                archives += [here] if packed else []
                others += not packed
            elif not stat.S_ISREG(facts.st_mode):
                bad.append((here, "it is no regular file"))
            else:
                (links if (root / here).is_symlink() else files)[here] = _identity(facts)
    once = {identity: here for here, identity in sorted(links.items(), reverse=True)}
    known = set(files.values())
    kept = [*files, *(here for identity, here in once.items() if identity not in known)]
    return Listing(root, tuple(sorted(kept)), tuple(sorted(bad)), others, tuple(sorted(archives)))


def _identity(facts: os.stat_result) -> Identity:
    return facts.st_dev, facts.st_ino


def _said(error: OSError) -> str:
    text = error.strerror or type(error).__name__
    return text[0].lower() + text[1:]
