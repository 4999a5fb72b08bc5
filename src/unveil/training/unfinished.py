"""The weights to use of a run that has not ended, from the latest checkpoint that can be read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unveil.errors import RunError
from unveil.store import RunFolder, size
from unveil.training.flat import in_order
from unveil.words import counted

log = logging.getLogger(__name__)

TIMES = 16
"""Times the bytes of model and objective that those of a checkpoint may be."""


def most(whole: nn.Module) -> int:
    """Bytes that the tensors of a checkpoint can have."""
    return TIMES * size(whole) + 2**26


@dataclass(frozen=True)
class Unfinished:
    """What a checkpoint holds for whoever wants to use the model.

    Attributes:
        tensors: every parameter and buffer by name: the best averaged weights so far, or, where none were looked at yet,
            the average of then.
        source: what messages call it.
        step: how many steps were taken.
        best_step: after which of them the weights were averaged.
        best_value: their loss on the validation split; None where they were not looked at.
    """

    tensors: dict[str, Tensor]
    source: str
    step: int
    best_step: int
    best_value: float | None

    def __str__(self) -> str:
        return told(self.step, self.best_step)


def told(step: int, best_step: int) -> str:
    """What is to be known of an unfinished run, for a person."""
    which = "their average of then" if best_step == step else f"those after step {best_step:,}, the best so far"
    return f"unfinished: {counted(step, 'step')} taken, and the weights in use are {which}; go on with --resume"


def unfinished(folder: RunFolder, whole: nn.Module) -> Unfinished | None:
    """The weights to use of the latest checkpoint; None where there is none that can be read.

    Args:
        folder: of the run.
        whole: model and objective as the manifest describes them, on any device; they stay as they are.

    Raises:
        RunError: the checkpoint belongs to another model.
    """
    for step in reversed(folder.checkpoints()):
        try:
            tensors, facts = folder.checkpoint(step, most(whole))
        except RunError as error:
            log.warning("%s; taking the checkpoint before", error)
            continue
        source = f"checkpoint {step} of {folder.path}"
        return Unfinished(_named(tensors, whole, source), source, step, *_best(tensors, facts, step))
    return None


def _best(tensors: dict[str, Tensor], facts: dict[str, Any], step: int) -> tuple[int, float | None]:
    best, value = facts.get("best_step"), facts.get("best_value")
    known = "best/values" in tensors and isinstance(best, int)
    return (best if known else step, value if known and isinstance(value, float) else None)  # type: ignore[return-value]


def _named(tensors: dict[str, Tensor], whole: nn.Module, source: str) -> dict[str, Tensor]:
    """Parameters from the one long vector, in which those that were not trained are missing; buffers and these as kept."""
    best = "best/values" in tensors
    vector, group = ("best/values", "best/buffer.") if best else ("weights/average", "buffers/")
    found = {name.removeprefix(group): one for name, one in tensors.items() if name.startswith(group)}
    trained = {id(one): name for name, one in whole.named_parameters() if name not in found}
    order = in_order(whole, [one for one in whole.parameters() if id(one) in trained])
    values = tensors.get(vector, torch.empty(0))
    if values.shape != (sum(one.numel() for one in order),):
        raise RunError(f"{source} belongs to another model: it has {values.numel():,} weights")
    for parameter, piece in zip(order, values.split([one.numel() for one in order]), strict=True):
        found[trained[id(parameter)]] = piece.view(parameter.shape)
    return found
