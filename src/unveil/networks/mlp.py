"""Fully connected networks: (N, *inputs) to (N, *outputs), through any number of hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "silu", "gated"]

# what follows a layer, and how many numbers it needs for each that it returns
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "relu": (torch.relu, 1),
    "silu": (F.silu, 1),
    "gated": (F.glu, 2),
}


class Mlp(nn.Module):
    """A multi-layer perceptron whose last layer is linear.

    Args:
        inputs: shape of one input; flattened.
        hidden: width of each hidden layer, from input to output.
        outputs: shape of one output.
        activation: 'relu', 'silu', or 'gated' (a linear unit times the sigmoid of another).

    Source: Dauphin et al. 2017, Language Modeling with Gated Convolutional Networks, arXiv:1612.08083 (gated).
    """

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: Sequence[int],
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs = tuple(inputs), tuple(hidden), tuple(outputs)
        self.activation = activation
        self._function, factor = _ACTIVATIONS[activation]
        widths = [prod(self.inputs), *self.hidden]
        self.layers = nn.ModuleList(nn.Linear(before, factor * after) for before, after in pairwise(widths))
        self.last = nn.Linear(widths[-1], prod(self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers:
            h = self._function(layer(h))
        return self.last(h).unflatten(1, self.outputs)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (*outputs)."""
        self.last.bias.copy_(output.flatten())
