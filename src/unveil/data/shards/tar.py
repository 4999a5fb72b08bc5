"""Images in tar files, as WebDataset lays them out: `key.png` and beside it `key.cls` or `key.json` with the class.

A tar file is hostile until checked. Members are found by their headers and read by their place in the file; nothing is
unpacked, no name is ever opened, and what is no regular file, too large, or named so as to lead elsewhere is bad.
"""

from __future__ import annotations

import io
import json
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import torch

from unveil.data.images.decode import BadImageError, Blob
from unveil.data.images.scan import ENDINGS
from unveil.data.shards.labels import Label, as_label
from unveil.data.store import Blocks
from unveil.words import counted

LARGEST = 2**26
"""Most bytes of an encoded image: 64 MiB."""
LABEL = 2**16
"""Most bytes of a .cls or .json member."""
HEADERS = 2**16
"""Most bytes of all the headers of one member."""
LONGEST = 1_000
"""Most characters of a member's name."""


@dataclass
class Tars:
    """Images in tar files, by number: a shelf.

    Attributes:
        root: the folder that holds the files.
        paths: the files below it.
        shard: (N,) which file each image is in, `offset` where in it the image begins, and `size` its bytes.
        labels: what each image's label is; None where it has none.
        bad: members that are left out, and files that are damaged, each with the reason.
        others: how many members have names of other kinds.
        names: of the classes; none, as labels are numbers or names themselves.
        told: whether there are labels where none can be read: not here, where those that cannot are bad.
    """

    root: Path
    paths: Sequence[Path]
    shard: array = field(default_factory=lambda: array("q"))
    offset: array = field(default_factory=lambda: array("q"))
    size: array = field(default_factory=lambda: array("q"))
    labels: list[Label | None] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    others: int = 0
    names: tuple[str, ...] = ()
    told: bool = False

    def __len__(self) -> int:
        return len(self.shard)

    def blob(self, place: int) -> Blob:
        """The bytes of an image, which BadImageError says are not all there if they are not."""
        path, offset, size = self.paths[self.shard[place]], self.offset[place], self.size[place]
        name = f"{path} at byte {offset}"
        try:
            return Blob(name, _read(self.root / path, offset, size))
        except OSError:
            raise BadImageError(name, "the file cannot be read") from None

    def name(self, place: int) -> str:
        """The file and the member, by the header before it."""
        path, offset = self.paths[self.shard[place]], self.offset[place]
        try:
            header = _read(self.root / path, offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
        except (OSError, tarfile.TarError):
            member = f"byte {offset}"
        return f"{path}: {shown(member)}"

    def blocks(self, places: np.ndarray) -> Blocks:
        """Each file is a block."""
        shard = np.frombuffer(self.shard, dtype=np.int64)[places]
        size = np.bincount(shard, np.frombuffer(self.size, dtype=np.int64)[places], minlength=len(self.paths))
        starts = np.searchsorted(shard, np.arange(len(self.paths) + 1))
        return Blocks(torch.from_numpy(starts), torch.from_numpy(size.astype(np.int64)))


def tars(root: Path, paths: Sequence[Path], label_name: str = "label") -> Tars:
    """Find the images in tar files.

    Args:
        root: the folder that holds them.
        paths: the files below it.
        label_name: what of a .json member is the label.
    """
    found = Tars(root, paths)
    for number, path in enumerate(paths):
        _find(found, number, path, label_name)
    return found


def _find(found: Tars, number: int, path: Path, label_name: str) -> None:
    """Add the images of one file, in the order in which they lie there."""
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, Label] = {}
    whole = found.root / path
    try:
        for member in _members(whole):
            key, ending = _apart(member.name)
            said = f"{path}: {shown(member.name)}"
            if ending not in (*ENDINGS, ".cls", ".json"):
                found.others += not member.isdir()
            elif reason := _refused(member, ending, whole):
                found.bad[said] = reason
            elif ending in ENDINGS:
                if key in images:
                    found.bad[said] = "there is an image of that key already"
                else:
                    images[key] = member
            elif key not in labels or ending == ".cls":
                label = _label(_read(whole, member.offset_data, member.size), ending, label_name)
                if label is None:
                    found.bad[said] = "it holds no class: a whole number or a short name"
                else:
                    labels[key] = label
    except Exception:  # tarfile raises half a dozen foreign types for damaged files
        found.bad[str(path)] = "it is no tar file, is compressed, or is damaged; what lies before the damage is read"
    for key, member in images.items():
        found.shard.append(number)
        found.offset.append(member.offset_data)
        found.size.append(member.size)
        found.labels.append(labels.get(key))


class _Headers(io.RawIOBase):
    """A file as tarfile reads headers from it, which takes whatever size a long name, or a table of holes, states."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, HEADERS

    def seek(self, offset: int, whence: int = 0) -> int:
        """As the file does."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """As the file does."""
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        """Bytes, while there are not too many `left` to be read for this member."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError("headers too large")
        return self.file.read(size)


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Headers of all members, none of which is kept by the archive."""
    before = -1
    with path.open("rb") as file, tarfile.open(fileobj=(headers := _Headers(file)), mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.offset <= before:  # a negative size would lead back without end
                raise tarfile.ReadError("members lead back")
            before = member.offset
            archive.members = []  # type: ignore[attr-defined]
            headers.left = HEADERS
            yield member
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops at what is no header as it does at the end
            raise tarfile.ReadError("no header")


def _apart(name: str) -> tuple[str, str]:
    """Key and ending of a member: the ending is all that follows the first dot of its last part."""
    folder, _, last = name.rpartition("/")
    stem, dot, rest = last.partition(".")
    return f"{folder}/{stem}", (dot + rest).lower()


def _refused(member: tarfile.TarInfo, ending: str, path: Path) -> str | None:
    """Why a member is not to be read."""
    name, most = PurePosixPath(member.name), LARGEST if ending in ENDINGS else LABEL
    if not member.isreg() or member.issparse():
        return "it is no regular file"
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or len(member.name) > LONGEST:
        return "its name leads elsewhere or is too long"
    if not member.name.isprintable():
        return "its name has characters that are not printed"
    if not 0 < member.size <= most:
        return f"it has {counted(member.size, 'byte')}, where 1 to {most:,} are read"
    if member.offset_data + member.size > path.stat().st_size:
        return "the file ends within it"
    return None


def _label(content: bytes, ending: str, label_name: str) -> Label | None:
    try:
        text = content.decode()
        value = json.loads(text).get(label_name) if ending == ".json" else text.strip()
    except (ValueError, RecursionError, AttributeError):
        return None
    return as_label(value)


def _read(path: Path, offset: int, size: int) -> bytes:
    """A stretch of a file; OSError where it is shorter."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise OSError("cut off")
    return content


def shown(name: str) -> str:
    """A name as it can be printed."""
    return name[:LONGEST] if name.isprintable() else name[:LONGEST].encode("unicode_escape", "backslashreplace").decode()
