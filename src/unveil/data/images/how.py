"""How many images are brought to one shape, what is done about bad ones, and what a person is told of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from unveil.data.images.decode import PIXELS, Fit, Frame, Header
from unveil.errors import DataError, option
from unveil.words import counted

SIDE = 32
"""Of images of many sizes, where no size is asked for."""
COMMON = 0.9
"""Share of the images that must have one size for it to be taken for that of all."""
SHOWN = 3
"""Bad files that a message names."""

BadFiles = Literal["skip", "stop"]


@dataclass(frozen=True)
class How:
    """How images are read, as it was asked for or, once they were read, as it turned out.

    Attributes:
        size: height and width, or one number for both; without it, that of the images if they share one, else 32 x 32.
        channels: 1 or 3; without it, 1 where no image has colour.
        fit: how images of another shape are brought to it.
        bad_files: 'skip' leaves them out and says so, 'stop' refuses them all.
    """

    size: tuple[int, ...] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    bad_files: BadFiles = "skip"

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", _sides(self.size))
        if self.channels not in (None, 1, 3):
            raise DataError(f"images cannot have {self.channels} channels; give 1 for gray or 3 for colour")

    def frame(self, heads: Counter[Header]) -> Frame:
        """The shape that images with these headers are brought to."""
        size = _sides(self.size) if self.size is not None else None
        if size is None:
            sizes: Counter[tuple[int, int]] = Counter()
            for head, count in heads.items():
                sizes[head.size] += count
            often, count = sizes.most_common(1)[0]
            size = often if count >= COMMON * heads.total() else (SIDE, SIDE)
        channels = self.channels or (1 if all(head.gray for head in heads) else 3)
        return Frame(size, channels, self.fit)

    def settle(self, bad: Mapping[Any, str], name: str, total: int) -> None:
        """Raise DataError where bad files of `total` are to stop everything."""
        if bad and self.bad_files == "stop":
            raise DataError(
                f"{name} holds {len(bad):,} bad files of {total:,}: {_named(bad)}; mend them, or leave them out by "
                f"{option('bad_files', 'skip')}"
            )

    def options(self, frame: Frame) -> dict[str, Any]:
        """What to give `unveil.load` so that other images come out in this frame."""
        return {"size": list(frame.size), "channels": frame.channels, "fit": frame.fit, "bad_files": self.bad_files}


def _sides(size: Any) -> tuple[int, int]:
    """Height and width, of one number or two.

    Raises:
        DataError: others, or more pixels than are decoded.
    """
    given = (size,) if isinstance(size, int) else tuple(size)
    if len(given) not in (1, 2) or min(given) < 1:
        said = " x ".join(map(str, given)) or "nothing"
        raise DataError(
            f"images cannot have the size {said}; give height and width as {option('size', (32, 32))}, or one "
            "number for both"
        )
    height, width = given[0], given[-1]
    if height * width > PIXELS:
        raise DataError(
            f"images cannot have {height} x {width} pixels, which are more than {PIXELS:,}; give a smaller size"
        )
    return height, width


USUAL = How()
"""How images are read where nothing is asked for."""


def notes(heads: Counter[Header], frame: Frame, others: int) -> Iterator[str]:
    """What a person should know of how images were brought to `frame`, and how many files are none."""
    total, (height, width) = heads.total(), frame.size
    if other := sum(count for head, count in heads.items() if head.size != frame.size):
        ways = {"crop": "cropped and resized", "pad": "resized and padded", "stretch": "stretched"}
        high, wide = (median(head.size[side] for head in heads.elements()) for side in (0, 1))
        yield (
            f"another size than {height} x {width}: {other:,} of {counted(total, 'image')} (typically {high:.0f} x "
            f"{wide:.0f}), "
            f"{ways[frame.fit]} to it; {option('size')} and {option('fit')} change that"
        )
    if coloured := sum(count for head, count in heads.items() if not head.gray) if frame.channels == 1 else 0:
        yield f"colour read as gray, as was asked for: {counted(coloured, 'image')}"
    if moving := sum(count for head, count in heads.items() if head.frames > 1):
        yield f"several frames: {counted(moving, 'file')}, of which the first frame is taken"
    if others:
        yield f"left alone, since their names are of other kinds: {counted(others, 'file')}"


def classes_said(names: tuple[str, ...], by: str) -> str:
    """The classes in words."""
    return f"{counted(len(names), 'class', 'classes')} by {by}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


def _named(bad: Mapping[Any, str]) -> str:
    return "; ".join(f"{path}: {reason}" for path, reason in sorted(bad.items())[:SHOWN])
