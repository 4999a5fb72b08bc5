r"""What a training takes of memory, told before it takes it.

Weights count several times: they themselves, their gradients, both moments, the average, the best of it, and what layers
compute of gradients on the way. What a step keeps for its backward pass is counted on a few examples, where autograd says
what it keeps, and continued to the whole batch by the parabola through three counts: objectives that compare all pairs
of a batch grow by its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from unveil.data import Feed, Split
from unveil.randomness import reseed
from unveil.training.config import Precision, Training
from unveil.training.precision import autocast
from unveil.training.step import Step

WHOLE, SLICED = 3, 4
"""Of each weight: value, gradient of the layer, of the vector; and two moments, average, best average, which can be cut."""
START = 4
"""More of the latter where training may go back."""
FEW = (2, 4, 6)
"""Examples on which is counted."""
PASSING, PAIRS = 1.5, 2.0
"""Times what a step keeps that it takes at most, of examples and of pairs of them: gradients, and what passes. Measured:
between 0.8 and 1 of the forecast for networks of several kinds and sizes, 1 for total correlation."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a training takes beside its data.

    Attributes:
        weights: for weights, moments, averages.
        batch: for a step of the batch that was asked for.
        fits: the largest batch that would fit beside the weights into the memory that there is; 0 for none.
    """

    weights: int
    batch: int
    fits: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.batch


def state_bytes(weights: int, config: Training, ranks: int = 1) -> int:
    """Bytes that `weights` trained numbers take in each of the processes that train them."""
    sliced = SLICED + (START if config.nonfinite == "roll-back" else 0)
    return 4 * (weights * WHOLE + -(-weights // (ranks if config.shard else 1)) * sliced)


def footprint(step: Step, split: Split, config: Training, precision: Precision, free: int, ranks: int = 1) -> Footprint:
    """What training takes, counted on a few examples of the training split; nothing is changed by it.

    Args:
        step: model and objective, on the device.
        split: what it is trained on.
        config: how.
        precision: of the matrix products.
        free: bytes that there are.
        ranks: processes that make a step together, each a batch of this size.
    """
    trained = sum(parameter.numel() for parameter in step.parameters() if parameter.requires_grad)
    weights = state_bytes(trained, config, ranks)
    asked = min(config.batch_size, len(split))
    few = [n for n in FEW if n <= len(split)]
    if len(few) < len(FEW):
        return Footprint(weights, 0, asked)
    a, b, c = _parabola([kept(step, split, n, config, precision) for n in few])
    a, b, c = PASSING * a, PASSING * b, PAIRS * c
    batch = int(a + b * asked + c * asked**2)
    return Footprint(weights, batch, _largest(free - weights, a, b, c))


def kept(step: Step, split: Split, n: int, config: Training, precision: Precision) -> int:
    """Bytes that autograd keeps of a step of `n` examples, beside the weights."""
    device = next(step.parameters()).device
    own = {parameter.untyped_storage().data_ptr() for parameter in step.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = step.training
    step.eval()  # foreign layers may move in training
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        reseed(config.seed, "footprint", device=device)
        batch = Feed(split.subset(torch.arange(n)), n, config.seed, device).batch(0)
        with autocast(precision, device), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            made = step(batch, torch.ones((), device=device))
        del made
    step.train(before)
    return sum(found.values())


def _parabola(counts: list[int]) -> tuple[float, float, float]:
    """a, b, c of a + b n + c n^2 through the counts at `FEW`, none below zero."""
    (x, y, z), (p, q, r) = FEW, counts
    c = max(0.0, ((r - q) / (z - y) - (q - p) / (y - x)) / (z - x))
    b = max(0.0, (r - p) / (z - x) - c * (z + x))
    return max(0.0, p - b * x - c * x**2), b, c


def _largest(room: float, a: float, b: float, c: float) -> int:
    """The largest n with a + b n + c n^2 within the room."""
    if room <= a:
        return 0
    if c > 0:
        return int((isqrt(int(b * b + 4 * c * (room - a))) - b) / (2 * c))
    return int((room - a) / b) if b > 0 else 1 << 62
