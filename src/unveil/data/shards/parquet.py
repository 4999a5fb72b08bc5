"""Images in Parquet files: a column of encoded bytes, or of records with `bytes`, as Hugging Face writes them.

A row group is read as a whole or not at all, so it is the block among which rows are shuffled. Some groups are kept in case
their other rows are wanted soon: as many as two windows have.
"""

from __future__ import annotations

import json
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from unveil.data.images.decode import BadImageError, Blob
from unveil.data.order import WINDOW
from unveil.data.pick import ANY, Pick
from unveil.data.shards.labels import Label, as_label
from unveil.data.shards.tar import LARGEST
from unveil.data.store import Blocks
from unveil.errors import DataError, option
from unveil.words import counted

GROUP = 2**30
"""Most bytes of a row group: 1 GiB."""
KEPT = 2 * WINDOW
"""Bytes of row groups that are kept, or two of them: those of a window, and of the one that readers ahead are in."""


@dataclass
class Parquets:
    """Images in Parquet files, by number: a shelf.

    Attributes:
        root: the folder that holds the files.
        paths: the files below it.
        column: of each file, what holds the bytes, and whether it does so in records.
        groups: (G,) the file and the row group of each block, and `sizes` their bytes.
        shard: (N,) which file each image is in, `group` which block, and `row` where in it.
        labels: what each image's label is; None where it has none.
        names: of the classes, where the files name them.
        told: whether a file has a column of labels, readable or not.
        bad: files that are damaged, each with the reason.
    """

    root: Path
    paths: Sequence[Path]
    column: dict[int, tuple[str, bool]] = field(default_factory=dict)
    groups: list[tuple[int, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    shard: array = field(default_factory=lambda: array("q"))
    group: array = field(default_factory=lambda: array("q"))
    row: array = field(default_factory=lambda: array("q"))
    labels: list[Label | None] = field(default_factory=list)
    names: tuple[str, ...] = ()
    told: bool = False
    bad: dict[str, str] = field(default_factory=dict)
    others: int = 0

    def __post_init__(self) -> None:
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.shard)

    def blob(self, place: int) -> Blob:
        """The bytes of an image, of which BadImageError says if there are none."""
        name = self.name(place)
        images, row = self._group(self.group[place]), self.row[place]
        content = images[row].as_py() if row < len(images) else None
        if not content or len(content) > LARGEST:
            said = (
                "there is no image" if not content else f"it has {counted(len(content), 'byte')}, and {LARGEST:,} are read"
            )
            raise BadImageError(name, said)
        return Blob(name, content)

    def name(self, place: int) -> str:
        """The file, the row group and the row in it."""
        return f"{self.paths[self.shard[place]]} group {self.groups[self.group[place]][1]} row {self.row[place]}"

    def blocks(self, places: np.ndarray) -> Blocks:
        """Each row group is a block."""
        group = np.frombuffer(self.group, dtype=np.int64)[places]
        starts = np.searchsorted(group, np.arange(len(self.groups) + 1))
        return Blocks(torch.from_numpy(starts), torch.tensor(self.sizes))

    def _group(self, block: int) -> Any:
        """The bytes of a row group's images, an Arrow array, kept or read."""
        with self._lock:
            if block not in self._kept:
                number, group = self.groups[block]
                self._kept[block] = _images(self.root / self.paths[number], group, self.column[number])
                while len(self._kept) > 2 and sum(self.sizes[one] for one in self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(block)
            return self._kept[block]


def needs_pyarrow() -> None:
    """DataError where it is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise DataError("such data are read by pyarrow, which is not installed: pip install 'unveil[parquet]'") from None


def parquets(root: Path, paths: Sequence[Path], pick: Pick = ANY) -> Parquets:
    """Find the images in Parquet files.

    Args:
        root: the folder that holds them.
        paths: the files below it.
        pick: which columns are taken.

    Raises:
        DataError: pyarrow is not installed, files without such columns, or row groups too large to be read whole.
    """
    needs_pyarrow()
    found = Parquets(root, paths)
    for number, path in enumerate(paths):
        try:
            _find(found, number, path, pick)
        except DataError:
            raise
        except MemoryError:
            raise DataError(f"{root / path} has labels that memory has no room for; write smaller row groups") from None
        except Exception:  # pyarrow raises a dozen foreign types for damaged files
            found.bad[str(path)] = "it is no Parquet file, or is damaged; what lies before the damage is read"
    return found


def _find(found: Parquets, number: int, path: Path, pick: Pick) -> None:
    """Add the images of one file, in the order in which they lie there."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(found.root / path) as file:
        schema = file.schema_arrow
        columns = {name: schema.field(name).type for name in schema.names}
        image, label = pick.image(columns, str(path)), pick.label(columns, str(path))
        found.column[number] = _bytes_of(image, columns[image], path)
        found.told |= label is not None
        found.names = found.names or class_names(schema.metadata or {}, label)
        for group in range(file.num_row_groups):
            # as the file says; to ask what each column has ends the process where the file is damaged
            size = max(0, file.metadata.row_group(group).total_byte_size)
            if size > GROUP:
                raise DataError(
                    f"{path} has a row group of {size:,} bytes, which is more than is held at once; write it "
                    "with smaller row groups, of 100 to 1,000 images"
                )
            count = file.metadata.row_group(group).num_rows
            if not 0 <= count <= (found.root / path).stat().st_size:
                raise ValueError("a row takes a byte at least")
            marks = [None] * count if label is None else _marks(file, group, label)[:count]
            found.groups.append((number, group))
            found.sizes.append(size)
            found.shard.extend([number] * count)
            found.group.extend([len(found.groups) - 1] * count)
            found.row.extend(range(count))
            found.labels.extend(marks + [None] * (count - len(marks)))


def _bytes_of(name: str, kind: Any, path: Path) -> tuple[str, bool]:
    """The column, and whether encoded bytes are in records there; DataError where there are none."""
    import pyarrow

    def binary(one: Any) -> bool:
        return bool(pyarrow.types.is_binary(one) or pyarrow.types.is_large_binary(one))

    if binary(kind):
        return name, False
    if pyarrow.types.is_struct(kind) and any(one.name == "bytes" and binary(one.type) for one in kind):
        return name, True
    raise DataError(
        f"{path} has {name!r} of type {str(kind)[:60]}, which is no encoded image; name another by "
        f"{option('image_column')}, or store "
        "numbers as a .npy file"
    )


def _marks(file: Any, group: int, label: str) -> list[Label | None]:
    """The labels of a row group."""
    return [as_label(value) for value in file.read_row_group(group, columns=[label], use_threads=False)[label].to_pylist()]


def _images(path: Path, group: int, column: tuple[str, bool]) -> Any:
    """(n,) encoded images of a row group, as an Arrow array of bytes."""
    import pyarrow.compute
    import pyarrow.parquet

    name, records = column
    where = f"{name}.bytes" if records else name
    try:
        # as a dictionary: one image that a small file repeats a thousand times is held once
        with pyarrow.parquet.ParquetFile(path, read_dictionary=[where]) as file:
            found = file.read_row_group(group, columns=[where], use_threads=False).column(0)
        return (pyarrow.compute.struct_field(found, "bytes") if records else found).combine_chunks()
    except MemoryError:
        raise DataError(f"{path} has a row group {group} that memory has no room for; write smaller ones") from None
    except Exception:
        raise BadImageError(path, f"its row group {group} cannot be read") from None


def class_names(metadata: Mapping[bytes, bytes], label: str | None) -> tuple[str, ...]:
    """The names that Hugging Face notes for the classes of a column."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(map(str, names)) if isinstance(names, list) else ()
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
