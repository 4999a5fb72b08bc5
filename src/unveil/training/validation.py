"""What the validation split says of the weights: each of its batches is looked at by one rank, and all know the result."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from unveil.data import Looks
from unveil.evaluation import bound
from unveil.training.step import Step
from unveil.training.team import Team

NAMES = ("distortion", "rate", "loss")


def looked(step: Step, batches: Looks, seed: int, device: torch.device, team: Team) -> dict[str, Tensor]:
    """Loss, distortion and, where it is finite, rate of each example, (N,) nats on the CPU, for any number of ranks.

    Args:
        step: model and objective.
        batches: of the validation split.
        seed: of the noise.
        device: where the model is.
        team: who shares the batches.
    """
    # at the end of time, when every warm-up is over: what is chosen by must not change on the way
    found = bound(step.model, batches, seed, device, step.objective, inf, team.rank, team.size)
    if team.size == 1:
        return found
    mine = torch.cat([torch.full((size,), place % team.size == team.rank) for place, size in enumerate(batches.sizes)])
    whole = torch.zeros(2, len(NAMES), len(mine), dtype=torch.float64)  # figures, and who has them
    for values, there, name in zip(*whole, NAMES, strict=True):
        if name in found:
            values[mine], there[mine] = found[name].double(), 1.0
    team.sum_(whole)
    return {name: whole[0, place] for place, name in enumerate(NAMES) if whole[1, place].all()}
