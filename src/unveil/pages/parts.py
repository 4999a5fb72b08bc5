"""What a model is made of, in words: its parts from the spec in run.json, and how many numbers each has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from unveil.errors import RunError
from unveil.run import Run

LONGEST = 600
"""Letters of a part's description."""


@dataclass(frozen=True)
class Piece:
    """A part of a model.

    Attributes:
        name: 'prior', 'posterior', 'likelihood'.
        kind: its class.
        text: its composition, from the spec.
        parameters: numbers that were learnt.
    """

    name: str
    kind: str
    text: str
    parameters: int


@dataclass(frozen=True)
class Parts:
    """A model.

    Attributes:
        kind: its class.
        objective: what it was trained on.
        pieces: its parts; what they share is counted in each.
        parameters: numbers that were learnt, each counted once.
        latent: shape of one z, of the first layer where there are several.
    """

    kind: str
    objective: str
    pieces: tuple[Piece, ...]
    parameters: int
    latent: tuple[int, ...]


def parts(run: Run) -> Parts:
    """What the model of a run is made of."""
    spec = run.manifest["spec"]
    roots = spec["roots"]
    arguments = spec["parts"][roots["model"]]["arguments"]
    pieces = [
        Piece(name, type(child).__name__, _words(spec["parts"], arguments.get(name)), _count(child))
        for name, child in run.model.named_children()
    ]
    objective = _words(spec["parts"], {"part": roots["objective"]})
    return Parts(type(run.model).__name__, objective, tuple(pieces), _count(run.model), _latent(run))


def _count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def _words(spec: list[dict[str, Any]], given: Any) -> str:
    """The composition that `given` refers to, as it would be written in Python; a part that was told stands as '...'."""
    told: set[int] = set()

    def words(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(words, value))}]"
        if not isinstance(value, dict):
            return str(value)
        place = value["part"]
        part: Mapping[str, Any] = spec[place]
        if place in told:
            return f"{part['type']}(...)"
        told.add(place)
        return f"{part['type']}({', '.join(f'{name}={words(one)}' for name, one in part['arguments'].items())})"

    text = "" if given is None else words(given)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@torch.no_grad()
def _latent(run: Run) -> tuple[int, ...]:
    facts = run.manifest["data"]
    device = next(run.model.parameters()).device
    try:
        x = torch.zeros(1, *facts["shape"], device=device)
        context = run.context(None, 1)
        found = run.model.encode(x, None if context is None else context.to(device))
        return tuple(found.event_shape)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError):
        raise RunError("run.json is damaged: its model does not read x of the shape that it states") from None
