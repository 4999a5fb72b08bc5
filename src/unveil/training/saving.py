"""Checkpoints that several ranks write and read together, each its own slice of the state, in a folder that all see.

Rank 0 makes the folder under a temporary name; when all have written and flushed, it adds the index and renames it. Until
then the checkpoint before is the latest. That all have is agreed by a sum, whose connection notices at once who is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.errors import RunError, option
from unveil.store import RunFolder, pieces
from unveil.training.cut import Cut

log = logging.getLogger(__name__)

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]


def save(folder: RunFolder, step: int, state: dict[str, Tensor], facts: Mapping[str, Any], cut: Cut, most: int) -> None:
    """Write a checkpoint: called by every rank of those that have a slice of it.

    Args:
        folder: of the run.
        step: after which it is.
        state: every tensor; of vectors that are cut the slice of this rank.
        facts: all else.
        cut: which slice is whose.
        most: bytes that none of its files is to exceed; 0 for files of any size.
    """
    if cut.whole and not most:
        folder.save_checkpoint(step, state, facts)
        return
    planned = pieces.plan(state, cut.slices, most)
    if cut.team.rank > 0:
        _write(folder.temporary(step), state, planned, cut)
        return
    with folder.renewed(step) as place:
        digests = _write(place, state, planned, cut)
        ends = [piece.stop for files in planned for piece in files]
        pieces.write_index(place, {**facts, "step": step}, ends, digests)
        size = (place / pieces.name_of(0, len(ends))).stat().st_size
    if most and size > most and len(folder.checkpoints()) == 1:  # said once
        log.warning(
            "a file of checkpoint %d has %s bytes, more than %s asks for: buffers, frozen weights and whatever else is no "
            "vector of all weights stay in one file",
            *(step, f"{size:,}", option("checkpoint_mib", most / 2**20)),
        )


def _write(place: Path, state: dict[str, Tensor], planned: list[list[slice]], cut: Cut) -> list[str]:
    """Write the files of this rank; the digests of all, once all have written theirs."""
    team = cut.team
    if cut.whole:
        return pieces.write(place, state, planned, 0)
    team.sum_(torch.zeros(1))  # until rank 0 has made the folder
    if not place.is_dir():
        raise RunError(
            f"rank {team.rank} does not see {place}, which rank 0 has made; with shard every rank writes to the run "
            "folder: name one that all of them see"
        )
    rows = torch.zeros(sum(map(len, planned)), 32, dtype=torch.int64)
    before = sum(map(len, planned[: team.rank]))
    for number, digest in enumerate(pieces.write(place, state, planned, team.rank), before):
        rows[number] = torch.tensor(list(bytes.fromhex(digest)))
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
