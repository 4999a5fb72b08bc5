"""An average of the weights along the way: smoother than the last step, and what evaluation and samples use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, each once, live."""
    return {
        name: tensor.detach() for named in (module.named_parameters(), module.named_buffers()) for name, tensor in named
    }


@torch.no_grad()
def load_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a state that `state_of` gave into the module."""
    for name, tensor in state_of(module).items():
        tensor.copy_(state[name])


class Average:
    r"""An exponential moving average of the weights.

    .. math:: \bar\theta_t = d_t \bar\theta_{t-1} + (1 - d_t) \theta_t, \quad d_t = \min(d, (1 + t) / (10 + t))

    The bound on d keeps the first, untrained weights from weighing for long. Buffers and integers are copied.

    Args:
        module: whose weights.
        decay: d, at least 0 and below 1; 0 follows the weights.

    Source: Polyak & Juditsky 1992; the bound as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.live = state_of(module)
        self.state = {name: tensor.clone() for name, tensor in self.live.items()}
        parameters = {name for name, _ in module.named_parameters()}
        self._averaged = [self.state[name] for name in self.live if name in parameters]
        self._followed = [self.live[name] for name in self.live if name in parameters]
        self._copies = [(self.state[name], self.live[name]) for name in self.live if name not in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`; those that a guarded step left unchanged do no harm."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, self._followed, 1 - decay)
        for copy, live in self._copies:
            copy.copy_(live)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the module has the averaged weights."""
        kept = {name: tensor.clone() for name, tensor in self.live.items()}
        load_state(self.module, self.state)
        try:
            yield
        finally:
            load_state(self.module, kept)
