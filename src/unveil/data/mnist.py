"""MNIST from its four files: looked for in the data folder, else fetched from the public mirrors.

A gzip file can be recompressed, so the digest is that of the decompressed bytes; a byte that does not match never
enters the data folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import IO

import torch

from unveil.data.arrays import as_labels, reading_for
from unveil.data.dataset import Dataset
from unveil.data.idx import parse, read_bytes
from unveil.data.space import Measure, Space
from unveil.data.split import Split
from unveil.data.splitting import carve
from unveil.errors import DataError
from unveil.words import counted

log = logging.getLogger(__name__)

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
ATTRIBUTION = "MNIST by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, CC BY-SA 3.0"
VALIDATION = 5_000 / 60_000
TIMEOUT = 20
"""Seconds that a mirror may stay silent."""
SLOWEST = 600
"""Seconds that a file may take."""
SPARE = 2**16
"""Bytes by which packing may make a file longer."""
TRIES = 3
"""Times that each mirror is asked."""
HOPELESS = ("host not found", "refused")
"""Reasons for which a mirror is not asked again."""


@dataclass(frozen=True)
class File:
    """One of the four files: its name, and size and SHA-256 of its decompressed bytes."""

    name: str
    size: int
    sha256: str
    dims: int


FILES = {
    "train images": File(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        3,
    ),
    "train labels": File(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        1,
    ),
    "test images": File(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        3,
    ),
    "test labels": File(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        1,
    ),
}


class NotFoundError(DataError):
    """MNIST is neither at hand nor reachable."""


def data_folder(given: Path | None = None) -> Path:
    """Where data sets lie: what was given, else the variable UNVEIL_DATA, else the user's cache."""
    if given is not None:
        return Path(os.path.expanduser(given))  # noqa: PTH111  leaves an unknown user's name as it is
    if os.environ.get("UNVEIL_DATA"):
        return Path(os.path.expanduser(os.environ["UNVEIL_DATA"]))  # noqa: PTH111
    from platformdirs import user_cache_path

    return user_cache_path("unveil")


def find(file: File, folder: Path) -> Path | None:
    """The file in `folder`/mnist or in `folder` itself, packed or not; None where there is none."""
    candidates = (place / name for place in (folder / "mnist", folder) for name in (file.name, file.name + ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def check(content: bytes, file: File, name: str) -> bytes:
    """The decompressed bytes, when they are MNIST's own; else DataError."""
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise DataError(
            f"{name} is not MNIST's {file.name}: {counted(len(content), 'byte')} whose SHA-256 differs from the published "
            "one; "
            "remove it, so that it is fetched anew, or load other images from a .npz file"
        )
    return content


def fetch(file: File, folder: Path) -> Path:
    """Download one file into `folder`/mnist, through a temporary name.

    Raises:
        NotFoundError: no mirror gave the file; the message names each and why.
    """
    try:
        place = folder / "mnist"
        place.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(dir=place, prefix=".fetch-")
    except OSError as error:
        raise NotFoundError(f"MNIST is not in {folder}, and nothing can be stored there: {error.strerror}") from None
    failures: dict[str, str] = {}
    with room as temporary:
        packed = Path(temporary) / (file.name + ".gz")
        for mirror in MIRRORS * TRIES:
            if failures.get(mirror) in HOPELESS:
                continue
            try:
                _download(mirror + packed.name, packed, file.size + SPARE)
                check(read_bytes(packed, file.size), file, mirror + packed.name)
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                failures[mirror] = _reason(error)
                continue
            target = place / packed.name
            packed.replace(target)
            log.info("fetched %s from %s", target, mirror)
            return target
    tried = ", ".join(f"{mirror} ({why})" for mirror, why in failures.items())
    raise NotFoundError(
        f"MNIST is not in {folder} and could not be fetched; tried {tried}; "
        "put its four IDX files into a folder and name that with --data-dir, or use the data set 'digits'"
    )


class _Bounded:
    """A file that takes no more bytes, and no longer, than it should."""

    def __init__(self, file: IO[bytes], most: int, until: float) -> None:
        self.file, self.left, self.until = file, most, until

    def write(self, chunk: bytes) -> None:
        self.left -= len(chunk)
        if self.left < 0:
            raise DataError("more bytes than the file has")
        if monotonic() > self.until:
            raise DataError(f"slower than {SLOWEST} s")
        self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def _download(url: str, path: Path, most: int) -> None:
    import pooch

    load = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    with path.open("wb") as file:
        load(url, _Bounded(file, most, monotonic() + SLOWEST), None)


def _reason(error: Exception) -> str:
    text = str(error)
    for sign, reason in (("resolve", "host not found"), ("refused", "refused"), ("timed out", "timed out")):
        if sign in text:
            return reason
    return text.splitlines()[0][:80] if text else type(error).__name__


def load(folder: Path | None = None, measure: Measure | None = None) -> Dataset:
    """The 60,000 training images, of which a fixed 5,000 become validation, and the real 10,000 test images.

    Args:
        folder: the data folder; None for `data_folder()`.
        measure: 'binary' (None: stochastic binarisation) or 'unit' (gray values).

    Raises:
        NotFoundError: neither at hand nor reachable.
        DataError: a file that is not MNIST's.
    """
    folder = data_folder(folder)
    arrays = {}
    for part, file in FILES.items():
        path = find(file, folder) or fetch(file, folder)
        arrays[part] = torch.from_numpy(
            parse(check(read_bytes(path, file.size), file, str(path)), str(path), file.dims).copy()
        )

    def split(name: str) -> Split:
        images = arrays[f"{name} images"].unsqueeze(1)
        labels = as_labels(arrays[f"{name} labels"], len(images), f"MNIST's {name} split")
        return Split(name, images, labels, torch.arange(len(images)), reading)

    reading = reading_for(arrays["train images"], measure, "MNIST")
    whole, test = split("train"), split("test")
    validation, train = (whole.subset(rows) for rows in carve(len(whole), VALIDATION))
    validation = replace(validation, name="validation")
    return Dataset("mnist", Space((1, 28, 28), reading.measure), train, validation, test, ATTRIBUTION)
