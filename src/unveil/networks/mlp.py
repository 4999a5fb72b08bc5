"""Fully connected networks: (N, *inputs) to (N, *outputs), through any number of hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.errors import SettingError
from unveil.words import counted

Activation = Literal["relu", "silu", "tanh", "gated"]

# what follows a layer, and how many numbers it needs for each that it returns
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "relu": (torch.relu, 1),
    "silu": (F.silu, 1),
    "tanh": (torch.tanh, 1),
    "gated": (F.glu, 2),
}


def beside(x: Tensor, context: Tensor | None, size: int) -> Tensor:
    """(N, D + C): x (N, D) with its context (N, C) beside it, if there is to be one.

    Raises:
        SettingError: a context that the network was not built for, or none where it was.
    """
    given = 0 if context is None else context.shape[-1]
    if given != size:
        raise SettingError(
            f"a context of {counted(given, 'number')} came to a network built for {size}; give with context={given}"
        )
    return x if context is None else torch.cat([x, context.to(x.dtype)], -1)


class Mlp(nn.Module):
    """A multi-layer perceptron whose last layer is linear.

    Args:
        inputs: shape of one input; flattened.
        hidden: width of each hidden layer, from input to output.
        outputs: shape of one output.
        activation: 'relu', 'silu', 'tanh', or 'gated' (a linear unit times the sigmoid of another).
        context: C of a context (N, C) that stands beside the input; 0 for none.

    Source: Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks, arXiv:1612.08083 (gated).
    """

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: Sequence[int],
        activation: Activation = "relu",
        context: int = 0,
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs = tuple(inputs), tuple(hidden), tuple(outputs)
        self.activation, self.context = activation, context
        self._function, factor = _ACTIVATIONS[activation]
        widths = [prod(self.inputs) + context, *self.hidden]
        self.layers = nn.ModuleList(nn.Linear(before, factor * after) for before, after in pairwise(widths))
        self.last = nn.Linear(widths[-1], prod(self.outputs))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = beside(x.flatten(1), context, self.context)
        for layer in self.layers:
            h = self._function(layer(h))
        return self.last(h).unflatten(1, self.outputs)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (*outputs)."""
        self.last.bias.copy_(output.flatten())
