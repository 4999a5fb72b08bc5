"""How long a step takes, reckoned from its operations: a rough figure that is the same on every machine and in every run.

So it may decide what a clock must not: whether steps are compiled, and how many of them are proposed.
"""

from __future__ import annotations

import torch

from unveil.data import Feed, Split
from unveil.evaluation import operations
from unveil.randomness import reseed
from unveil.training.config import Precision, Training
from unveil.training.precision import autocast
from unveil.training.step import Step

FEW = 4
"""Examples on which operations are counted."""
BACKWARD = 3
"""Times the operations of a forward pass that a step takes: gradients are made of two products for each."""
OVERHEAD = {"cpu": 2e-3, "cuda": 2e-4}
"""Seconds of a step that do not depend on its operations: roughly as on two CPU cores; for a GPU a guess."""
RATE = {"cpu": 1.5e11, "cuda": 1e14}
"""Operations in a second, likewise."""


def seconds(step: Step, split: Split, config: Training, precision: Precision, device: torch.device) -> float:
    """Of a step, roughly; neither weights nor the caller's random state are touched.

    Args:
        step: what is trained, wherever it is now.
        split: on what, of at least `FEW` examples.
        config: how.
        precision: of the matrix products.
        device: where it is to be trained, of a kind that `RATE` knows.
    """
    home = next(step.parameters()).device
    with torch.random.fork_rng([home] if home.type == "cuda" else []), autocast(precision, home):
        reseed(config.seed, "operations", device=home)
        batch = Feed(split.subset(torch.arange(FEW)), FEW, config.seed, home).batch(0)
        count = operations(lambda: step(batch, torch.ones((), device=home)))
    each = BACKWARD * count / FEW * min(config.batch_size, len(split)) / RATE[device.type]
    return OVERHEAD[device.type] + each
