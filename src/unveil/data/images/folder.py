"""A folder of images as a `Dataset`: classes from sub-folders, splits as given or carved, one shape for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from unveil.data.dataset import Dataset, Split
from unveil.data.images.decode import BadImageError, Frame, Header, decode, header
from unveil.data.images.how import USUAL, How, classes_said, notes
from unveil.data.images.reading import every, reading_of_images, two_toned
from unveil.data.images.scan import Listing, scan
from unveil.data.memory import exceeds, gigabytes, memory
from unveil.data.space import Measure, Space
from unveil.data.splitting import GIVEN, parted
from unveil.errors import DataError

MEMORY = 0.5
"""Share of the memory that decoded images may fill."""
WORKERS = 4
"""Threads that decode; decoders let go of the interpreter's lock."""

T = TypeVar("T")


def from_folder(root: Path, measure: Measure | None = None, how: How = USUAL) -> Dataset:
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
    how.settle(bad, str(root), len(found.files))
    if not heads:
        raise DataError(
            f"{root} holds no images that can be read; they end in .png, .jpg, ..., or lie in .tar or .parquet files"
        )
    kinds = Counter(heads.values())
    frame = how.frame(kinds)
    _check_memory(len(heads), frame, root)
    values, kept, worse = _decoded(root, list(heads), frame)
    bad |= worse
    how.settle(bad, str(root), len(found.files))
    names, labels = _classes(kept)
    reading = reading_of_images(frame.channels, two_toned(values[:: every(len(values))].numpy()), measure, str(root))
    whole = Split("all", values, labels, torch.arange(len(values)), reading)
    train, validation, test = parted(whole, _given(kept))
    space = Space(tuple(values.shape[1:]), reading.measure)
    return Dataset(
        str(root),
        space,
        train,
        validation,
        test,
        classes=names,
        options=how.options(frame),
        notes=(*([classes_said(names, "sub-folder")] if names else []), *notes(kinds, frame, found.others, bad)),
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


def _check_memory(count: int, frame: Frame, root: Path) -> None:
    needed = count * frame.channels * frame.size[0] * frame.size[1]
    if exceeds(needed, MEMORY):
        raise DataError(
            f"{root}: {count:,} images of {frame.channels} x {frame.size[0]} x {frame.size[1]} are {gigabytes(needed)}, "
            f"and this machine has {gigabytes(memory())}; ask for a smaller size"
        )


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


def _given(paths: list[Path]) -> dict[str, Tensor]:
    """Positions of the images of each split that folders at the top name; nothing where some lie in none of them."""
    said = [_place(path)[0] for path in paths]
    if None in said or not {"train", "test"} & set(said):
        return {}
    return {name: torch.tensor([place for place, one in enumerate(said) if one == name]) for name in set(said) if name}
