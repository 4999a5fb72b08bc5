"""What an evaluation leaves in a run folder: its figures, the values they are means of, and what was found on the way.

report.json          the figures, and the digest of the weights that they are of
report.safetensors   the values of each image, for comparing runs image by image
partial.safetensors  what a weighing has found so far, while it runs or after it was stopped; partial.json says of what
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from unveil.errors import RunError
from unveil.store import files, tensors

log = logging.getLogger(__name__)

FIGURES, VALUES = "report.json", "report.safetensors"
PARTIAL, PARTIAL_KEY = "partial.safetensors", "partial.json"


class Reports:
    """The reports of a run folder.

    Args:
        path: the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, content: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
        """Keep figures, and the values (N,) of each image.

        Raises:
            RunError: the folder cannot be written to.
        """
        try:
            # no figures stand beside values of another evaluation: after a power cut in between there are none
            (self.path / FIGURES).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{self.path / FIGURES} cannot be replaced: {error.strerror}") from error
        digest = tensors.save(self.path / VALUES, dict(values))
        files.write_json(self.path / FIGURES, {**content, "tensors": {VALUES: digest}})

    def read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The figures and the values.

        Raises:
            RunError: there are none, or they are damaged.
        """
        if not (self.path / FIGURES).is_file():
            raise RunError(f"{self.path} has not been evaluated; do so by `unveil evaluate {self.path}`")
        content = files.read_json(self.path / FIGURES)
        held = content.get("tensors") if isinstance(content, dict) else None
        if not isinstance(held, dict) or not isinstance(held.get(VALUES), str):
            raise RunError(f"{self.path / FIGURES} is damaged, or of an older version; evaluate anew")
        return content, tensors.load(self.path / VALUES, held[VALUES])

    def forget(self) -> None:
        """Remove figures, values and what was found on the way: the weights are others now."""
        for name in (FIGURES, VALUES, PARTIAL_KEY, PARTIAL):
            (self.path / name).unlink(missing_ok=True)


class Ledger:
    """What a weighing has found so far, in a run folder; a folder that cannot be written to is said once and left alone.

    Args:
        path: the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = True

    def recall(self, key: str) -> dict[str, Tensor]:
        """What was put down under `key`; nothing where there is none, or none that can be read."""
        if not (self.path / PARTIAL_KEY).is_file():
            return {}
        try:
            said = files.read_json(self.path / PARTIAL_KEY)
            if not isinstance(said, dict) or said.get("key") != key:
                return {}
            return tensors.load(self.path / PARTIAL, str(said.get("digest")))
        except RunError as error:
            log.warning("%s; evaluating from the beginning", error)
            return {}

    def keep(self, key: str, found: Mapping[str, Tensor]) -> None:
        """Put down what was found so far."""
        if not self.writable:
            return
        try:
            digest = tensors.save(self.path / PARTIAL, dict(found))
            files.write_json(self.path / PARTIAL_KEY, {"key": key, "digest": digest})
        except RunError as error:
            self.writable = False
            log.warning("%s; what is found on the way is not kept", error)

    def close(self) -> None:
        """Remove what was put down: the weighing has ended."""
        with suppress(OSError):  # what cannot be removed is overwritten by the next, and known by its key until then
            for name in (PARTIAL_KEY, PARTIAL):
                (self.path / name).unlink(missing_ok=True)
