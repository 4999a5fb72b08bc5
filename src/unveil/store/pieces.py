"""Checkpoints in pieces: files with a slice each of every vector as long as the weights, for several ranks, or small files.

The index, state.json, says where the slices end and what digest each file has. The names of the files are not read from it
but made from their number, and all else of the state is in the first of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.errors import RunError
from unveil.store import files, tensors

STATE = "state.safetensors"
"""The file of a checkpoint that is not in pieces."""
INDEX = "state.json"
MOST = 2**16
"""Pieces that a checkpoint may have."""
_EACH = ("weights/values", "weights/average", "optimiser/first", "optimiser/second")
VECTORS = frozenset((*_EACH, *(f"start/{name}" for name in _EACH), "best/values"))
"""The tensors of a state that have a number for each weight."""


def name_of(number: int, count: int) -> str:
    """One of `count` files."""
    return f"state-{number:05}-of-{count:05}.safetensors"


def plan(state: Mapping[str, Tensor], slices: Sequence[slice], most: int) -> list[list[slice]]:
    """What the files of each rank hold of the vectors, the same on every rank.

    Args:
        state: that is written.
        slices: of the ranks.
        most: bytes that a file is to have; 0 for one file for each rank, of any size.
    """
    if not most:
        return [[piece] for piece in slices]
    vectors = VECTORS & set(state)
    each = sum(state[name].element_size() for name in vectors)
    beside = sum(tensor.nbytes for name, tensor in state.items() if name not in vectors)
    header = 16 + sum(len(json.dumps(name)) + 24 * (5 + tensor.dim()) for name, tensor in state.items())  # no less
    width = max((most - header) // each, -(-slices[-1].stop // (MOST // 2)))  # so that no checkpoint has too many
    first = max((most - header - beside) // each, 0)
    return [_files(piece, width if rank else first, width) for rank, piece in enumerate(slices)]


def _files(piece: slice, first: int, width: int) -> list[slice]:
    """A slice in files: the first of `first` numbers, the others of `width`, the last of what is left."""
    ends = piece.start, *range(piece.start + first, piece.stop, width), piece.stop
    return [slice(start, stop) for start, stop in pairwise(ends)]


def write(place: Path, state: Mapping[str, Tensor], planned: Sequence[Sequence[slice]], rank: int) -> list[str]:
    """Write the files of one rank into the folder of a checkpoint, flushed; their SHA-256."""
    before, count = sum(map(len, planned[:rank])), sum(map(len, planned))
    start, digests = planned[rank][0].start, []
    for number, piece in enumerate(planned[rank], before):
        part = slice(piece.start - start, piece.stop - start)
        kept = {
            name: tensor[part] if name in VECTORS else tensor
            for name, tensor in state.items()
            if number == 0 or name in VECTORS
        }
        digests.append(tensors.save(place / name_of(number, count), kept))
    return digests


def write_index(place: Path, facts: Mapping[str, Any], ends: Sequence[int], digests: Sequence[str]) -> None:
    """Write what binds the pieces together: where the slice of each ends, and its digest."""
    named = {name_of(number, len(ends)): digest for number, digest in enumerate(digests)}
    files.write_signed(place / INDEX, {**facts, "ends": list(ends), "tensors": named})


def read(place: Path, most: int | None, mine: slice | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint, in pieces or not.

    Args:
        place: its folder.
        most: bytes that its tensors can have, together.
        mine: of every one of `VECTORS` no more than this, and of its files those alone that hold it; None for all.

    Raises:
        RunError: it is damaged.
    """
    facts = files.read_signed(place / INDEX)
    if not isinstance(facts, dict) or not isinstance(facts.get("tensors"), dict):
        raise RunError(f"{place / INDEX} is damaged")
    if "ends" not in facts:
        take = _taking(place / STATE, None, mine)
        return tensors.load(place / STATE, str(facts["tensors"].get(STATE)), most, take), facts
    ends = _ends(place / INDEX, facts)
    mine = mine or slice(0, ends[-1])
    found: dict[str, list[Tensor]] = {}
    for number, (start, stop) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
        part = slice(max(mine.start - start, 0), max(min(stop, mine.stop) - start, 0))
        if number > 0 and part.start >= part.stop:
            continue
        path = place / name_of(number, len(ends))
        piece = tensors.load(path, facts["tensors"][path.name], most, _taking(path, stop - start, part))
        if most is not None:  # of all files together
            most = max(most - sum(tensor.nbytes for tensor in piece.values()), 0)
        if number > 0 and set(piece) != VECTORS & set(found):
            raise RunError(f"{path} is damaged: it does not hold slices of the vectors that the first piece has")
        for name, tensor in piece.items():
            found.setdefault(name, []).append(tensor)
    return {name: _joined(place, name, found.pop(name)) for name in list(found)}, facts


def _taking(path: Path, length: int | None, part: slice | None) -> Any:
    """What is kept of a tensor of a file whose vectors have `length` numbers: the numbers `part` of a vector."""

    def take(name: str, tensor: Tensor) -> Tensor:
        if name not in VECTORS or part is None:
            return tensor
        if tensor.dim() != 1 or (length is not None and len(tensor) != length):
            raise RunError(f"{path} is damaged: {name} has the shape {tuple(tensor.shape)}, which is not that of its slice")
        return tensor[part]

    return take


def _ends(index: Path, facts: Mapping[str, Any]) -> list[int]:
    """Where the slices end, found to be in order."""
    ends, digests = facts["ends"], facts["tensors"]
    if not isinstance(ends, list) or not 1 <= len(ends) <= MOST or not all(type(end) is int for end in ends):
        raise RunError(f"{index} is damaged: it does not say where its pieces end")
    if ends != sorted(ends) or ends[0] < 0:
        raise RunError(f"{index} is damaged: its pieces overlap")
    named = {name_of(number, len(ends)) for number in range(len(ends))}
    if set(digests) != named or not all(isinstance(digest, str) for digest in digests.values()):
        raise RunError(f"{index} is damaged: it states other files than those of its {len(ends):,} pieces")
    return ends


def _joined(place: Path, name: str, parts: list[Tensor]) -> Tensor:
    if len({part.dtype for part in parts}) > 1:
        raise RunError(f"{place} is damaged: {name} has numbers of several types")
    return parts[0] if len(parts) == 1 else torch.cat(parts)
