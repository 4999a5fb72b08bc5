"""-ELBO, distortion and rate of each example: what validation looks at after every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor
from torch.backends import cudnn

from unveil.data import Batch
from unveil.models import Model
from unveil.objectives import MODEL, Term
from unveil.part import resting
from unveil.randomness import reseed


@torch.no_grad()
def bound(
    model: Model,
    batches: Iterable[Batch],
    seed: int,
    device: torch.device,
    objective: Term | None = None,
    t: float = 0.0,
    turn: int = 0,
    turns: int = 1,
) -> dict[str, Tensor]:
    """One draw for each example (or as many as `objective` wants), in float32 and without training-mode layers.

    Distortion and rate are unbiased for their expectations under q; the noise is a function of (seed, batch number), so
    that two looks at the same weights agree.

    Args:
        model: what makes draws.
        batches: the examples.
        seed: of the noise.
        device: where the model is.
        objective: whose loss to look at as well, at time `t` in epochs.
        t: time for the objective's schedules.
        turn: which batches to look at, where several processes share them: number `turn` and every `turns`-th after it.
        turns: how many processes there are.

    Returns:
        'distortion', 'rate' where it is finite and, with an objective, 'loss', each (N,) nats on the CPU;
        nothing where there was no batch to look at.
    """
    found: dict[str, list[Tensor]] = {"distortion": [], "rate": []}
    if objective is not None:
        found["loss"] = []
    samples = (objective.samples if objective is not None else None) or 1
    gradient = (objective.gradient if objective is not None else None) or "pathwise"
    with in_evaluation(model):
        for place, batch in islice(enumerate(batches), turn, None, turns):
            reseed(seed, "bound", place, device=device)
            draw = model.draw(batch.to(device), samples, gradient)
            if objective is not None:
                loss = objective(draw, model, torch.tensor(t, device=device))
                found["loss"].append((loss if isinstance(loss, Tensor) else loss[MODEL]).cpu())
            found["distortion"].append(draw.distortion.cpu())
            if draw.rated:
                found["rate"].append(draw.rate.cpu())
    return {name: torch.cat(values) for name, values in found.items() if values}


@contextmanager
def in_evaluation(model: Model) -> Iterator[None]:
    """Within, every layer is in evaluation mode, float32 is float32, and the caller's random state is set aside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with resting(model), torch.random.fork_rng(devices), _whole_mantissa():
        yield


@contextmanager
def _whole_mantissa() -> Iterator[None]:
    """Within, convolutions on a GPU keep the 24 bits of float32; PyTorch's default is TF32, which keeps 11 of them."""
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before
