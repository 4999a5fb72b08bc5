"""-ELBO, distortion and rate of each example: what validation looks at after every epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unveil.data import Batch
from unveil.models import Model
from unveil.randomness import reseed


@torch.no_grad()
def bound(model: Model, batches: Iterable[Batch], seed: int, device: torch.device) -> dict[str, Tensor]:
    """One draw for each example, in float32 and without training-mode layers.

    Distortion and rate are unbiased for their expectations under q; the noise is a function of (seed, batch number), so
    that two looks at the same weights agree.

    Returns:
        'distortion' and 'rate', each (N,) nats on the CPU.
    """
    found: dict[str, list[Tensor]] = {"distortion": [], "rate": []}
    with in_evaluation(model):
        for place, batch in enumerate(batches):
            reseed(seed, "bound", place, device=device)
            draw = model.draw(Batch(batch.x.to(device), batch.index.to(device), batch.size))
            found["distortion"].append(draw.distortion.cpu())
            found["rate"].append(draw.rate.cpu())
    return {name: torch.cat(values) for name, values in found.items()}


class in_evaluation:
    """Within, every layer is in evaluation mode and the caller's random state is set aside."""

    def __init__(self, model: Model) -> None:
        self.modules = list(model.modules()) if isinstance(model, nn.Module) else []

    def __enter__(self) -> None:
        self.modes = [module.training for module in self.modules]
        for module in self.modules:
            module.training = False
        self.fork = torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else [])
        self.fork.__enter__()

    def __exit__(self, *error: object) -> None:
        self.fork.__exit__(None, None, None)
        for module, mode in zip(self.modules, self.modes, strict=True):
            module.training = mode
