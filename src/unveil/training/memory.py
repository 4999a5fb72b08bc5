"""A training that leaves nothing on the disk: its records and its state stay in memory, and training can go on from there.

What a run folder's checkpoint holds is a state between two steps. Here it may also be taken to other rows: then the next
epoch begins on them, with the weights, moments and average that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unveil.data import Split
from unveil.training.config import Training
from unveil.training.saving import Checkpoint
from unveil.training.state import State
from unveil.training.step import FIGURES, Step
from unveil.training.tally import Tally


class Memory:
    """A journal in memory.

    Args:
        state: tensors and facts to go on from; None for a training that begins.

    Attributes:
        state: after the last step.
        records: a record for each epoch, as metrics.jsonl has them.
        events: one for each step that was not finite.
    """

    def __init__(self, state: Checkpoint | None = None) -> None:
        self.state = state
        self.records: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []

    def record(self, record: Mapping[str, Any]) -> None:
        """After each epoch."""
        self.records.append(dict(record))

    def event(self, event: Mapping[str, Any]) -> None:
        """After a step that was not finite."""
        self.events.append(dict(event))

    def back(self, step: int) -> None:
        """After training went back to `step`."""
        self.records = [one for one in self.records if one["step"] <= step]

    def checkpoint(self, step: int, state: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep what there is after `step`."""
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
        self.state = tensors, {**facts, "step": step}


def onward(step: Step, split: Split, config: Training, state: Checkpoint | None = None) -> Checkpoint:
    """What to resume from for the last epoch of `config`, so that those before count as done, on whatever rows.

    Args:
        step: what is trained; its weights are taken where there is no state.
        split: the rows of that epoch.
        config: how it is trained.
        state: of a training of the same step; None to begin with moments of zero and the weights as their own average.
    """
    steps = len(split) // min(config.batch_size, len(split))
    if state is None:
        fresh = State(step, None, config.clip, config.average, Tally(FIGURES, steps, torch.device("cpu")))
        state = {name: tensor.clone() for name, tensor in fresh.tensors().items()}, fresh.facts()
        fresh.flat.release()
    tensors, facts = state
    # figures of an epoch that has ended say nothing any more, and the next one may have another number of steps
    figures = torch.full((steps, len(FIGURES) + 1), torch.nan)
    return {**tensors, "tally/rows": figures}, {**facts, "step": (config.epochs - 1) * steps}
