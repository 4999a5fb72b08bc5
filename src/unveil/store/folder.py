"""The run folder: what a run leaves behind, and all that is needed to open it or to go on with it.

run.json             what it is: spec, data, settings, versions, digests
model.safetensors    the weights to use
checkpoints/STEP/    everything that training needs to go on from there
metrics.jsonl        a line for each epoch; no clocks in it
timing.jsonl         a line for each epoch; nothing but clocks
events.jsonl         a line for each step that was not finite, with the rows that it saw
report.json          what `evaluate` found (see `report`)
pictures/            what there is to see
lock                 whose it is, while somebody trains
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from unveil.errors import RunError
from unveil.store import files, half, lock, pieces, tensors
from unveil.store.report import forget

FORMAT = 1
"""Version of the layout; a newer one is refused."""
KEPT = 2
"""Checkpoints that are kept."""


class RunFolder:
    """A run folder on disk.

    Args:
        path: where it is or is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures = path / "pictures"
        self._checkpoints = path / "checkpoints"

    def require_new(self) -> None:
        """Nothing is there yet.

        Raises:
            RunError: it exists.
        """
        with suppress(OSError):  # whoever makes the folder is told of what cannot be looked at
            if self.path.exists():
                if self._foreign():
                    raise RunError(f"{self.path} exists and is no run folder; name another --out")
                raise RunError(f"{self.path} exists; go on with it by --resume, or name another --out")

    def _foreign(self) -> bool:
        """Whether what is there is not ours: a file, or a folder with something else than a run.json or checkpoints."""
        if not self.path.is_dir():
            return True
        begun = {self.path / "lock", *files.litter(self.path)}
        ours = (self.path / "run.json").is_file() or self._checkpoints.is_dir()
        return not ours and any(path not in begun for path in self.path.iterdir())

    def create(self, resume: bool) -> None:
        """Make the folder; an existing one is taken only to resume.

        Raises:
            RunError: it exists, is to be resumed and is no run folder, or cannot be made.
        """
        if not resume:
            self.require_new()
        try:
            if self.path.exists() and self._foreign():
                raise RunError(f"{self.path} is no run folder, so that nothing can be resumed there; name another --out")
            self.path.mkdir(parents=True, exist_ok=resume)
        except OSError as error:
            raise RunError(f"{self.path} cannot be made: {error.strerror}; name another --out") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder within; a second process is refused."""
        with lock.held(self.path / "lock"):
            yield

    # what it is

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Write run.json."""
        files.write_json(self.path / "run.json", {"format": FORMAT, **content})

    def manifest(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunError: this is no run folder, or one of a newer format.
        """
        if not (self.path / "run.json").is_file():
            what = "holds no run.json" if self.path.is_dir() else "is no folder"
            raise RunError(f"{self.path} is no run folder: it {what}; `unveil train` makes one")
        content = files.read_json(self.path / "run.json")
        if not isinstance(content, dict) or not isinstance(content.get("format"), int):
            raise RunError(f"{self.path / 'run.json'} is damaged: it states no format")
        if content["format"] > FORMAT:
            raise RunError(
                f"{self.path} has format {content['format']}, and this version reads up to {FORMAT}; update unveil"
            )
        for name in ("spec", "data", "tensors"):
            if not isinstance(content.get(name), dict):
                raise RunError(f"{self.path / 'run.json'} is damaged: it states no {name}")
        return content

    # the weights to use

    def finish(self, state: dict[str, Tensor], content: Mapping[str, Any]) -> dict[str, Any]:
        """Write model.safetensors and run.json with its digest; returns what the latter says.

        In between run.json names no weights: after a power cut there, the checkpoint ends the training again, and no
        digest stands beside weights that are not its own. Figures of other weights go.
        """
        self.write_manifest({**content, "status": "training", "tensors": {}})
        kept = half.packed(state, content)
        forget(self.path, tensors.digest(kept))
        whole = {**content, "tensors": {"model.safetensors": tensors.save(self.path / "model.safetensors", kept)}}
        self.write_manifest(whole)
        return whole

    def model(self, most: int | None = None) -> dict[str, Tensor]:
        """The weights to use, of at most `most` bytes.

        Raises:
            RunError: training has not ended yet, or the file is damaged.
        """
        content = self.manifest()
        digests = content["tensors"]
        digest = digests.get("model.safetensors")
        if not isinstance(digest, str):
            raise RunError(f"{self.path} is unfinished, without a checkpoint that can be read; train it with --resume")
        return half.unpacked(tensors.load(self.path / "model.safetensors", digest, most), content)

    # what happened

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Add a line to a .jsonl file and flush it to disk."""
        try:
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(files.plain(record), allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise files.unwritable(self.path / name, error) from error

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The records of a .jsonl file, oldest first; a torn last line is left out."""
        path = self.path / name
        if not path.is_file():
            return []
        try:
            with files.opened(path) as file:
                records = [json.loads(line) for line in file if line.endswith(b"\n")]
        except (ValueError, RecursionError):
            raise RunError(f"{path} is damaged: a line holds no JSON; mend or remove it") from None
        if not all(isinstance(record, dict) and isinstance(record.get("step"), int) for record in records):
            raise RunError(f"{path} is damaged: a line is no record of a step; mend or remove it")
        return records

    def rewind(self, step: int, events: int = 0) -> None:
        """Forget what was written after step `step`, lines and unreadable checkpoints: it will be written again.

        Training may have gone back since, so that of events the first `events` are kept, whatever their step.
        """
        for left in (*files.litter(self.path), *files.litter(self._checkpoints)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        self.forget_after(step)
        self._drop_old()
        for name in ("metrics.jsonl", "timing.jsonl"):
            kept = [json.dumps(record) + "\n" for record in self.lines(name) if record.get("step", 0) <= step]
            files.write(self.path / name, "".join(kept).encode())
        if (self.path / "events.jsonl").is_file():
            told = self.lines("events.jsonl")[:events]
            files.write(self.path / "events.jsonl", "".join(json.dumps(line) + "\n" for line in told).encode())

    # everything that training needs to go on

    def save_checkpoint(self, step: int, state: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write checkpoints/STEP through a temporary name, then drop all but the latest two."""
        with self.renewed(step) as place:
            digest = tensors.save(place / pieces.STATE, state)
            files.write_signed(place / pieces.INDEX, {**facts, "step": step, "tensors": {pieces.STATE: digest}})

    def temporary(self, step: int) -> Path:
        """Where a checkpoint is until it is whole."""
        return self._checkpoints / f".{step}.tmp"

    @contextmanager
    def renewed(self, step: int) -> Iterator[Path]:
        """A new folder to write a checkpoint into, which takes its place when it is whole, and then that of the oldest."""
        target, temporary = self._checkpoints / str(step), self.temporary(step)
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            self._checkpoints.mkdir(exist_ok=True)  # without its parents: a run folder that was removed stays so
            temporary.mkdir()
            yield temporary
            shutil.rmtree(target, ignore_errors=True)  # one that turned out damaged, of the very same state
            files.move(temporary, target)
            files.flush_folder(self._checkpoints)
        except OSError as error:
            raise files.unwritable(target, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._drop_old()

    def forget_after(self, step: int) -> None:
        """Remove the checkpoints after step `step`."""
        for later in [later for later in self.checkpoints() if later > step]:
            shutil.rmtree(self._checkpoints / str(later), ignore_errors=True)

    def _drop_old(self) -> None:
        for old in self.checkpoints()[:-KEPT]:
            shutil.rmtree(self._checkpoints / str(old), ignore_errors=True)

    def checkpoints(self) -> list[int]:
        """The steps of which there are checkpoints, in order."""
        if not self._checkpoints.is_dir():
            return []
        return sorted(int(path.name) for path in self._checkpoints.iterdir() if path.name.isdecimal())

    def checkpoint(
        self, step: int, most: int | None = None, mine: slice | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, of at most `most` bytes, and facts of a checkpoint; of vectors of all weights the slice `mine`.

        Raises:
            RunError: it is damaged.
        """
        return pieces.read(self._checkpoints / str(step), most, mine)


def free_path(base: Path) -> Path:
    """`base` where nothing is there yet, else `base`-2, `base`-3, ..."""
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
