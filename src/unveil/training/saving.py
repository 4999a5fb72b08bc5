"""Checkpoints that several ranks write and read together, each its own slice of the state, in a folder that all see.

Rank 0 makes the folder under a temporary name; when all have written and flushed, it adds the index and renames it. Until
then the checkpoint before is the latest. That all have is agreed by a sum, whose connection notices at once who is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.errors import RunError
from unveil.store import RunFolder, pieces
from unveil.training.cut import Cut

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]


def save(folder: RunFolder, step: int, state: dict[str, Tensor], facts: Mapping[str, Any], cut: Cut) -> None:
    """Write a checkpoint: called by every rank."""
    if cut.whole:
        folder.save_checkpoint(step, state, facts)
    elif cut.team.rank > 0:
        _write(folder.temporary(step), state, cut)
    else:
        with folder.renewed(step) as place:
            digests = _write(place, state, cut)
            pieces.write_index(place, {**facts, "step": step}, [piece.stop for piece in cut.slices], digests)


def _write(place: Path, state: dict[str, Tensor], cut: Cut) -> list[str]:
    """Write the piece of this rank; the digests of all, once all have written theirs."""
    team = cut.team
    team.sum_(torch.zeros(1))  # until rank 0 has made the folder
    if not place.is_dir():
        raise RunError(
            f"rank {team.rank} does not see {place}, which rank 0 has made; with shard every rank writes to the run "
            "folder: name one that all of them see"
        )
    digest = pieces.write(place, state, team.rank, team.size)
    rows = torch.zeros(team.size, len(digest) // 2, dtype=torch.int64)
    rows[team.rank] = torch.tensor(list(bytes.fromhex(digest)))
    return [bytes(row).hex() for row in team.sum_(rows).tolist()]


def read(folder: RunFolder, step: int, most: int, cut: Cut) -> Checkpoint:
    """What rank 0 reads of a checkpoint: its slice, or the whole where nothing is cut. The others `follow`.

    Raises:
        RunError: a rank cannot read its slice.
    """
    if cut.whole:
        return folder.checkpoint(step, most)
    cut.team.tell(step)
    return _read(folder, step, most, cut)


def follow(folder: RunFolder, most: int, cut: Cut) -> Checkpoint | None:
    """What another rank reads, of the checkpoint that rank 0 finds; None where there is none."""
    while (step := cut.team.tell()) is not None:
        try:
            return _read(folder, step, most, cut)
        except RunError:
            continue  # rank 0 goes back to the one before
    return None


def _read(folder: RunFolder, step: int, most: int, cut: Cut) -> Checkpoint:
    """The slice of this rank, once every rank has read its own."""
    found: Checkpoint | None = None
    said = f"another rank cannot read checkpoint {step} of {folder.path}"
    try:
        found = folder.checkpoint(step, most, cut.mine)
    except RunError as error:
        said = str(error)
    unread = cut.team.sum_(torch.tensor([0.0 if found else 1.0]))
    if found is None or unread > 0:
        raise RunError(said)
    return found
