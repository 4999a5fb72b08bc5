"""Options that several commands have, each written once: a run, data and how they are read, splits, numbers of examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from tyro.conf import OmitArgPrefixes, Positional, arg

from unveil.data.held import Held
from unveil.data.images.how import How
from unveil.data.mapped import File
from unveil.data.pick import Pick
from unveil.data.tables.table import How as TableHow

RunFolder: TypeAlias = Positional[Annotated[str, arg(metavar="RUN")]]  # an address on the hub is no Path
Data: TypeAlias = Positional[Annotated[str | None, arg(metavar="[DATA]")]]
Count: TypeAlias = Annotated[int, arg(aliases=["-n"])]
Measure: TypeAlias = Literal["binary", "unit", "levels", "real", "count"]
OneSplit: TypeAlias = Literal["train", "validation", "test"]
AnySplit: TypeAlias = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True)
class Reading:
    """How DATA are read.

    Attributes:
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how x is read: binary (binarised afresh at each visit), unit (gray values), levels (0..255), real or count;
            without it, as is usual for such data.
        images: how a folder of images, or of shards, is read.
        file: how a .npy or .npz file is read.
        pick: which columns of Parquet shards are read.
        table: how a table is read.
        held: what validates and tests.
    """

    data_dir: Path | None = None
    measure: Measure | None = None
    images: OmitArgPrefixes[How] = field(default_factory=How)
    file: OmitArgPrefixes[File] = field(default_factory=File)
    pick: OmitArgPrefixes[Pick] = field(default_factory=Pick)
    table: OmitArgPrefixes[TableHow] = field(default_factory=TableHow)
    held: OmitArgPrefixes[Held] = field(default_factory=Held)
