"""A folder of images as a `Dataset`: classes from sub-folders, splits as given or carved, one shape for all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from unveil.data.dataset import Dataset, Split
from unveil.data.images.decode import BadImageError, Fit, Frame, Header, decode, header
from unveil.data.images.scan import Listing, scan
from unveil.data.reading import Binarise, Gray, Plain, Reading
from unveil.data.space import Measure, Space
from unveil.data.splits import GIVEN, divided
from unveil.errors import DataError

SIDE = 32
"""Of images of many sizes, where no size is asked for."""
COMMON = 0.9
"""Share of the images that must have one size for it to be taken for that of all."""
TWO_TONE = 0.9
"""Share of gray pixels that must lie near black or white for them to be read as binary."""
MEMORY = 0.5
"""Share of the memory that decoded images may fill."""
SHOWN = 3
"""Bad files that a message names."""
WORKERS = 4
"""Threads that decode; decoders let go of the interpreter's lock."""

BadFiles = Literal["skip", "stop"]
T = TypeVar("T")


@dataclass(frozen=True)
class How:
    """How a folder is read, as it was asked for or, once it was read, as it turned out.

    Attributes:
        size: (height, width); None for that of the images if they share one, else 32 x 32.
        channels: 1 or 3; None for 1 where no image has colour.
        fit: how images of another shape are brought to it.
        bad_files: 'skip' leaves them out and says so, 'stop' refuses the folder.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    bad_files: BadFiles = "skip"

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise DataError(f"images cannot have size {self.size}; give height and width, at least 1 each")
        if self.channels not in (None, 1, 3):
            raise DataError(f"images cannot have {self.channels} channels; give 1 for gray or 3 for colour")


def from_folder(root: Path, measure: Measure | None = None, how: How = How()) -> Dataset:
    """A dataset from a folder of images.

    Sub-folders are classes, numbered in the order of their names, where every image lies in one. Folders named train, test
    and validation at the top are those splits; what is not given is carved from train, a tenth each, by a permutation that
    depends on the number of images alone.

    Args:
        root: the folder.
        measure: 'binary', 'unit' or 'levels'; None for 'levels', or 'binary' where gray pixels are nearly all black or
            white.
        how: sizes, colours, and what to do about files that are no images.

    Raises:
        DataError: no folder, no images in it, more than fit into memory, or bad files where these are to stop it.
    """
    found = scan(root)
    heads, bad = _headers(found)
    bad = {**dict(found.bad), **bad}
    _settle(bad, how, root, len(found.files))
    if not heads:
        raise DataError(f"{root} holds no images that can be read; they end in .png, .jpg, .webp, .tif, ...")
    frame = _frame(list(heads.values()), how)
    _check_memory(len(heads), frame, root)
    values, kept, worse = _decoded(root, list(heads), frame)
    bad |= worse
    _settle(bad, how, root, len(found.files))
    names, labels = _classes(kept)
    reading = _reading(values, measure, root)
    whole = Split("all", values, labels, torch.arange(len(values)), reading)
    train, validation, test = divided(whole, [_place(path)[0] for path in kept])
    space = Space(tuple(values.shape[1:]), reading.measure)
    return Dataset(
        str(root),
        space,
        train,
        validation,
        test,
        classes=names,
        options={"size": list(frame.size), "channels": frame.channels, "fit": frame.fit, "bad_files": how.bad_files},
        notes=tuple(_notes(heads, frame, found, bad, names)),
        bad=tuple(sorted((str(path), reason) for path, reason in bad.items())),
    )


def _headers(found: Listing) -> tuple[dict[Path, Header], dict[Path, str]]:
    heads, bad = {}, {}
    for path, seen in _each(found.files, lambda path: header(found.root / path)):
        if isinstance(seen, Header):
            heads[path] = seen
        else:
            bad[path] = _why(seen)
    return heads, bad


def _each(paths: Sequence[Path], look: Callable[[Path], T]) -> Iterator[tuple[Path, T | BadImageError]]:
    """What `look` finds of each path in their order, or the BadImageError that it raises."""

    def tried(path: Path) -> T | BadImageError:
        try:
            return look(path)
        except BadImageError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        yield from zip(paths, pool.map(tried, paths), strict=True)


def _why(error: BadImageError) -> str:
    return str(error).split(": ", 1)[-1]


def _settle(bad: dict[Path, str], how: How, root: Path, total: int) -> None:
    if bad and how.bad_files == "stop":
        named = "; ".join(f"{path}: {reason}" for path, reason in sorted(bad.items())[:SHOWN])
        raise DataError(
            f"{root} holds {len(bad):,} bad files of {total:,}: {named}; mend them, or leave them out with bad files 'skip'"
        )


def _frame(heads: list[Header], how: How) -> Frame:
    size = how.size
    if size is None:
        often, count = Counter(head.size for head in heads).most_common(1)[0]
        size = often if count >= COMMON * len(heads) else (SIDE, SIDE)
    channels = how.channels or (1 if all(head.gray for head in heads) else 3)
    return Frame(size, channels, how.fit)


def _check_memory(count: int, frame: Frame, root: Path) -> None:
    needed = count * frame.channels * frame.size[0] * frame.size[1]
    free = _memory()
    if free and needed > MEMORY * free:
        raise DataError(
            f"{root}: {count:,} images of {frame.channels} x {frame.size[0]} x {frame.size[1]} are {needed / 2**30:.1f} "
            f"GB, and this machine has {free / 2**30:.1f}; ask for a smaller size"
        )


def _memory() -> int:
    """Bytes of this machine's memory; 0 where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _decoded(root: Path, paths: list[Path], frame: Frame) -> tuple[Tensor, list[Path], dict[Path, str]]:
    """Values (N, C, H, W), the paths they are of, and what turned out to be damaged."""
    values = np.empty((len(paths), frame.channels, *frame.size), dtype=np.uint8)
    kept: list[Path] = []
    bad: dict[Path, str] = {}
    for path, seen in _each(paths, lambda path: decode(root / path, frame)):
        if isinstance(seen, BadImageError):
            bad[path] = _why(seen)
        else:
            values[len(kept)] = seen
            kept.append(path)
    if not kept:
        raise DataError(f"{root} holds no images that can be decoded; `unveil inspect {root}` says why")
    return torch.from_numpy(values[: len(kept)]), kept, bad


def _place(path: Path) -> tuple[str | None, tuple[str, ...]]:
    """The split that a path names, and the folders below that."""
    first, *rest = path.parts
    return (GIVEN[first.lower()], tuple(rest)) if rest and first.lower() in GIVEN else (None, path.parts)


def _classes(paths: list[Path]) -> tuple[tuple[str, ...], Tensor | None]:
    """Names of the classes, and each image's number; none where some lie in no sub-folder, or all in one."""
    inside = [_place(path)[1] for path in paths]
    if any(len(parts) < 2 for parts in inside):
        return (), None
    names = sorted({parts[0] for parts in inside})
    if len(names) < 2:
        return (), None
    number = {name: place for place, name in enumerate(names)}
    return tuple(names), torch.tensor([number[parts[0]] for parts in inside])


def _reading(values: Tensor, measure: Measure | None, root: Path) -> Reading:
    if measure is None:
        some = values[:: max(1, len(values) // 500)]
        near = ((some < 26) | (some > 229)).float().mean()
        measure = "binary" if values.shape[1] == 1 and near > TWO_TONE else "levels"
    readings: dict[str, Reading] = {"binary": Binarise(), "unit": Gray(), "levels": Plain("levels")}
    if measure not in readings:
        raise DataError(f"{root} holds images, which are read as 'binary', 'unit' or 'levels', not as {measure!r}")
    return readings[measure]


def _notes(
    heads: dict[Path, Header], frame: Frame, found: Listing, bad: dict[Path, str], names: tuple[str, ...]
) -> Iterator[str]:
    sizes = [head.size for head in heads.values()]
    height, width = frame.size
    if other := sum(size != frame.size for size in sizes):
        ways = {"crop": "cropped and resized", "pad": "resized and padded", "stretch": "stretched"}
        typical = f"{median(size[0] for size in sizes):.0f} x {median(size[1] for size in sizes):.0f}"
        yield (
            f"{other:,} of {len(sizes):,} images have another size than {height} x {width} (typically {typical}) and are "
            f"{ways[frame.fit]} to it; --size and --fit change that"
        )
    if coloured := sum(not head.gray for head in heads.values()) if frame.channels == 1 else 0:
        yield f"{coloured:,} images in colour are read as gray, as was asked for"
    if moving := sum(head.frames > 1 for head in heads.values()):
        yield f"{moving:,} files hold several frames, of which the first is taken"
    if names:
        yield f"{len(names)} classes by sub-folder: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    if found.others:
        yield f"{found.others:,} files with names of other kinds are left alone"
    if bad:
        named = "; ".join(f"{path}: {reason}" for path, reason in sorted(bad.items())[:SHOWN])
        yield f"{len(bad):,} bad files are left out: {named}{'; ...' if len(bad) > SHOWN else ''}"
