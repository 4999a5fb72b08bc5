"""q(z|x) of a whole split as the encoder gives it, without noise."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.data import Split
from unveil.evaluation.bound import in_evaluation
from unveil.models import Model

CHUNK = 500
"""Most examples encoded at a time."""
NUMBERS = 784 * 4_000
"""Most numbers of x encoded at a time."""


@torch.no_grad()
def encoded(model: Model, split: Split, seed: int | None = None) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the first layer's posterior, (N, *latent) on the CPU.

    A semi-supervised model finds the class itself, although the split may know it.

    Args:
        model: what encodes.
        split: the examples.
        seed: of a random reading; None for the mean over readings, the gray image.
    """
    device, means, scales = next(iter(model.parameters())).device, [], []
    size = max(1, min(CHUNK, NUMBERS // split.values[0].numel()))
    with in_evaluation(model):
        for start in range(0, len(split), size):
            part = split.subset(torch.arange(start, min(start + size, len(split))))
            x = part.reading.mean(part.values[:]) if seed is None else part.fixed(seed)
            context = None if part.context is None or part.labelled is not None else part.context.to(device)
            posterior = model.encode(x.to(device), context)
            means.append(posterior.mean.cpu())
            scales.append(posterior.stddev.cpu())
    return torch.cat(means), torch.cat(scales)
