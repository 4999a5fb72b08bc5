"""An average of the weights along the way: smoother than the last step, and what evaluation and samples use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unveil.training.flat import Flat


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, each once, live."""
    return {
        name: tensor.detach() for named in (module.named_parameters(), module.named_buffers()) for name, tensor in named
    }


class Average:
    r"""An exponential moving average of the weights.

    .. math:: \bar\theta_t = d_t \bar\theta_{t-1} + (1 - d_t) \theta_t, \quad d_t = \min(d, (1 + t) / (10 + t))

    The bound on d keeps the first, untrained weights from weighing for long. Buffers are not averaged: they are what
    they are at the time.

    Args:
        flat: the weights.
        decay: d, at least 0 and below 1; 0 follows the weights.

    Attributes:
        values: of the weights that this rank steps.

    Source: Polyak & Juditsky 1992; the bound as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, flat: Flat, decay: float) -> None:
        self.flat = flat
        self.decay = decay
        self.values = flat.own.clone()

    def follow(self, step: int) -> float:
        """1 - d after step `step`."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, follow: Tensor) -> None:
        """Take in the weights, whose share is `follow` (); those that a guarded step left unchanged do no harm."""
        self.values.lerp_(self.flat.own, follow)
