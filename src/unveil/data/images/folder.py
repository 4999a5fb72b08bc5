"""A folder of images as a `Dataset`: classes from sub-folders, splits as given or carved, one shape for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.data.dataset import Dataset
from unveil.data.images.encoded import stored
from unveil.data.images.how import USUAL, How, classes_said, notes
from unveil.data.images.reading import reading_of_images
from unveil.data.images.scan import scan
from unveil.data.images.survey import survey
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import GIVEN, named, parted
from unveil.errors import DataError


@dataclass(frozen=True)
class Files:
    """Image files, by number: a shelf.

    Attributes:
        root: the folder that holds them.
        paths: their paths below it.
    """

    root: Path
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def blob(self, place: int) -> Path:
        """The file."""
        return self.root / self.paths[place]

    def name(self, place: int) -> str:
        """Its path below the folder."""
        return str(self.paths[place])

    def blocks(self, places: np.ndarray) -> None:
        """Each file lies by itself."""


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
        DataError: no folder, no images in it, or bad files where these are to stop it.
    """
    found = scan(root)
    if not found.files and found.archives:
        raise DataError(
            f"{root} holds no images but those in archives ({found.packed()}); unpack them there, or write them anew "
            "as .tar files without compression"
        )
    if not found.files and not found.bad:
        raise DataError(f"{root} holds no images; they end in .png, .jpg, ..., or lie in .tar or .parquet files")
    shelf = Files(root, found.files)
    seen = survey(shelf, how, str(root), {str(path): reason for path, reason in found.bad}, keep=True)
    kept = [found.files[place] for place in seen.kept.tolist()]
    names, labels = _classes(kept)
    reading = reading_of_images(seen.frame.channels, seen.near, measure, str(root))
    values = stored(shelf, seen, str(root))
    given = named([_place(path)[0] for path in kept])
    # a name that is no UTF-8 is written with escapes
    files = tuple(path.as_posix().encode(errors="backslashreplace").decode() for path in kept)
    whole = Split("all", values, labels, torch.arange(len(values)), reading, files=files)
    train, validation, test = parted(whole, given)
    about = [classes_said(names, "sub-folder")] if names else []
    about += [f"archives, left alone: {found.packed()}; unpack them to have their images too"] if found.archives else []
    return Dataset(
        str(root),
        Space(tuple(values.shape[1:]), reading.measure),
        train,
        validation,
        test,
        classes=names,
        options=how.options(seen.frame),
        notes=(*about, *notes(seen.heads, seen.frame, found.others)),
        bad=tuple(sorted(seen.bad.items())),
    )


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
