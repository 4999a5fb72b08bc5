"""What an evaluation leaves in a run folder: its figures, the values they are means of, and what was found on the way.

report.json          the figures on the run's own test split, and the digest of the weights that they are of
report.safetensors   the values of each image, for comparing runs image by image
                     left out where a run is pushed without data: report.json then names none
report-NAME.json     likewise, with values of its own, on another split or on other data
partial-KEY.json     a weighing that runs or was stopped, and partial-KEY-DIGEST.safetensors what it has found so far
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from unveil.errors import RunError
from unveil.store import files, tensors

log = logging.getLogger(__name__)

FIGURES, VALUES = ".json", ".safetensors"
OWN = "report"
"""What the report of the run's own test split is called, and how all others begin."""
PARTIAL, SHORT = "partial", 16
SAID, TOLD = 40, 8
"""Letters of the name of data, and of their fingerprint, that have room in that of a report."""


def name_of(split: str, data: str = "", fingerprint: str = "") -> str:
    """What the report is called of a split of the run's own data, or of other data with their name and fingerprint."""
    if not fingerprint:
        return OWN if split == "test" else f"{OWN}-{split}"
    said = re.sub("[^A-Za-z0-9]+", "-", Path(data).stem)[:SAID].strip("-")
    return "-".join(part for part in (OWN, said, fingerprint[:TOLD], split) if part)


class Reports:
    """A report of a run folder.

    Args:
        path: the run folder.
        name: what `name_of` gave.
    """

    def __init__(self, path: Path, name: str = OWN) -> None:
        self.path = path
        self.figures, self.values = path / f"{name}{FIGURES}", path / f"{name}{VALUES}"

    def write(self, content: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
        """Keep figures, and the values (N,) of each image.

        Raises:
            RunError: the folder cannot be written to.
        """
        try:
            # no figures stand beside values of another evaluation: after a power cut in between there are none
            self.figures.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{self.figures} cannot be replaced: {error.strerror}") from error
        digest = tensors.save(self.values, dict(values))
        files.write_json(self.figures, {**content, "tensors": {self.values.name: digest}})

    def read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The figures and the values; no values where the figures say that they travel without any.

        Raises:
            RunError: there are none, or they are damaged.
        """
        if not self.figures.is_file():
            if self.figures.stem != OWN:
                raise RunError(f"there is no report {self.figures}; `unveil evaluate` says what it calls its reports")
            raise RunError(f"{self.path} has not been evaluated; do so by `unveil evaluate {self.path}`")
        content = files.read_json(self.figures)
        held = content.get("tensors") if isinstance(content, dict) else None
        if held == {}:
            return content, {}
        if not isinstance(held, dict) or not isinstance(held.get(self.values.name), str):
            raise RunError(f"{self.figures} is damaged, or of an older version; evaluate anew")
        values = tensors.load(self.values, held[self.values.name])
        return content, {name: value.double() for name, value in values.items()}


def forget(folder: Path, weights: str) -> None:
    """Remove what evaluations left in a run folder, but figures and values of the weights with this digest."""
    for figures in (folder / f"{OWN}{FIGURES}", *folder.glob(f"{OWN}-*{FIGURES}")):
        with suppress(RunError):
            said = files.read_json(figures)
            if isinstance(said, dict) and said.get("weights") == weights:
                continue
        for path in (figures, figures.with_suffix(VALUES)):
            path.unlink(missing_ok=True)
    for path in folder.glob(f"{PARTIAL}-*"):
        path.unlink(missing_ok=True)


class Ledger:
    """What weighings have found so far, in a run folder; a folder that cannot be written to is said once and left alone.

    Each has a pair of files named by its key: another evaluation does not touch those of one that was stopped.

    Args:
        path: the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = True
        self.keys: set[str] = set()

    def recall(self, key: str) -> dict[str, Tensor]:
        """What was put down under `key`; nothing where there is none, or none that can be read."""
        self.keys.add(key)
        note = self._note(key)
        if not note.is_file():
            return {}
        try:
            said = files.read_json(note)
            if not isinstance(said, dict) or said.get("key") != key:
                return {}
            digest = str(said.get("digest"))
            return tensors.load(self._values(key, digest), digest)
        except RunError as error:
            log.warning("%s; evaluating from the beginning", error)
            return {}

    def keep(self, key: str, found: Mapping[str, Tensor]) -> None:
        """Put down what was found so far."""
        self.keys.add(key)
        if not self.writable:
            return
        try:
            # the note names values that are there already, whenever this is cut off
            digest = tensors.digest(dict(found))
            tensors.save(self._values(key, digest), dict(found))
            files.write_json(self._note(key), {"key": key, "digest": digest})
            self._remove(key, but=digest)
        except RunError as error:
            self.writable = False
            log.warning("%s; what is found on the way is not kept", error)

    def close(self) -> None:
        """Remove what was put down for the weighings that were asked for: they have ended."""
        for key in self.keys:
            with suppress(OSError):
                self._note(key).unlink(missing_ok=True)
            self._remove(key)

    def _remove(self, key: str, but: str = "") -> None:
        for path in self.path.glob(f"{PARTIAL}-{key[:SHORT]}-*.safetensors"):
            if not but or path != self._values(key, but):
                with suppress(OSError):  # what cannot be removed is named by nothing
                    path.unlink(missing_ok=True)

    def _note(self, key: str) -> Path:
        return self.path / f"{PARTIAL}-{key[:SHORT]}.json"

    def _values(self, key: str, digest: str) -> Path:
        return self.path / f"{PARTIAL}-{key[:SHORT]}-{digest[:SHORT]}.safetensors"
