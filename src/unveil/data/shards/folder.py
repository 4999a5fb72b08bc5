"""A folder of shards as a `Dataset` that is never whole in memory: tar files as WebDataset writes them, or Parquet files.

All images are looked at once, to find the bad ones and to know what they are; from then on each is decoded when a batch
asks for it. What stays in memory is about 60 bytes an image.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.data.dataset import Dataset
from unveil.data.images.encoded import Encoded
from unveil.data.images.how import USUAL, How, classes_said, notes
from unveil.data.images.reading import reading_of_images
from unveil.data.images.scan import scan
from unveil.data.images.survey import survey
from unveil.data.pick import ANY, LABEL, Pick
from unveil.data.shards.labels import numbered
from unveil.data.shards.parquet import Parquets, parquets
from unveil.data.shards.tar import Tars, tars
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import GIVEN, parted
from unveil.data.store import Store
from unveil.errors import DataError
from unveil.words import counted

ENDINGS = (".tar", ".parquet")
"""Of shards."""


def holds_shards(root: Path) -> bool:
    """Whether a folder is one of shards: it has some, and no images beside them."""
    return bool(scan(root, ENDINGS).files) and not scan(root).files


def from_shards(root: Path, measure: Measure | None = None, how: How = USUAL, pick: Pick = ANY) -> Dataset:
    """A dataset from a folder of tar or Parquet files.

    Files in folders, or with names, that begin with train, validation or test are those splits; what is not given is carved
    from the rows of train, a tenth each, by a permutation that depends on the number of images alone.

    Args:
        root: the folder.
        measure: 'binary', 'unit' or 'levels'; None as for a folder of images.
        how: sizes, colours, and what to do about files that are no images.
        pick: which columns of Parquet files, or which part of a .json member, are taken.

    Raises:
        DataError: no image that can be read, files of both kinds, or bad ones where these are to stop it.
    """
    found = scan(root, ENDINGS)
    if len(kinds := {path.suffix.lower() for path in found.files}) > 1:
        raise DataError(f"{root} holds tar and Parquet files; keep one kind in a folder")
    shelf: Tars | Parquets
    if kinds == {".tar"}:
        shelf = tars(root, found.files, pick.label_column or LABEL[0])
    else:
        shelf = parquets(root, found.files, pick)
    known = {**{str(path): reason for path, reason in found.bad}, **shelf.bad}
    seen = survey(shelf, how, str(root), known, keep=False)
    names, labels, said = numbered([shelf.labels[place] for place in seen.kept.tolist()], shelf.names, shelf.told)
    reading = reading_of_images(seen.frame.channels, seen.near, measure, str(root))
    source = Encoded(shelf, seen, str(root), by_hash=True)
    rows = torch.arange(len(seen.kept))
    train, validation, test = parted(Split("all", Store(source, rows), labels, rows, reading), _given(shelf, seen.kept))
    files = counted(len(found.files), f"{kinds.pop()} file")
    about = [f"{counted(len(shelf), 'image')} in {files}, decoded when they are asked for"]
    about += [classes_said(names, "name")] if names else []
    about += [said] if said else []
    if found.archives:
        about.append(
            f"archives, left alone: {found.packed()}; write them anew as .tar files without compression to be read"
        )
    return Dataset(
        str(root),
        Space(source.event_shape, reading.measure),
        train,
        validation,
        test,
        classes=names,
        options={**how.options(seen.frame), **pick.options()},
        notes=(*about, *notes(seen.heads, seen.frame, found.others + shelf.others)),
        bad=tuple(sorted(seen.bad.items())),
    )


def _given(shelf: Tars | Parquets, kept: Tensor) -> dict[str, Tensor]:
    """Positions of the images of each split that the shards' names tell; nothing where some tell none."""
    said = [_split_of(path) for path in shelf.paths]
    shard = torch.from_numpy(np.frombuffer(shelf.shard, dtype=np.int64)[kept.numpy()])
    used = {said[number] for number in shard.unique().tolist()}
    if None in used or not {"train", "test"} & used:
        return {}
    numbers = {name: [number for number, one in enumerate(said) if one == name] for name in used if name}
    return {name: torch.isin(shard, torch.tensor(some)).nonzero().flatten() for name, some in numbers.items()}


def _split_of(path: Path) -> str | None:
    """The split that a shard is of, by the folder at the top or by how its name begins: train-00000-of-00010.parquet."""
    begins = re.split(r"[-_.0-9]", path.name.lower(), maxsplit=1)[0]
    first = path.parts[0].lower() if len(path.parts) > 1 else begins
    return GIVEN.get(first, GIVEN.get(begins))
