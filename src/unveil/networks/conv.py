"""Convolutional networks between images and vectors, for any size, odd ones included, and any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.networks.mlp import beside


def sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Image sizes from the input downwards: each level halves and rounds up, as a stride of two does."""
    result = [(height, width)]
    for _ in range(levels):
        height, width = (height + 1) // 2, (width + 1) // 2
        result.append((height, width))
    return result


class ConvEncoder(nn.Module):
    """Images to vectors: convolutions of stride two, then one linear layer.

    Args:
        inputs: (C, H, W).
        channels: channels after each halving.
        outputs: shape of one output, (E,).
        context: C of a context (N, C), given to the linear layer; 0 for none.
    """

    def __init__(self, inputs: Sequence[int], channels: Sequence[int], outputs: Sequence[int], context: int = 0) -> None:
        super().__init__()
        self.inputs, self.channels, self.outputs = tuple(inputs), tuple(channels), tuple(outputs)
        self.context = context
        depth, height, width = self.inputs
        widths = [depth, *self.channels]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths))
        low, high = sizes(height, width, len(self.channels))[-1]
        self.last = nn.Linear(widths[-1] * low * high + context, self.outputs[0])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.last(beside(x.flatten(1), context, self.context))


def upsampled(h: Tensor, layers: nn.ModuleList, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """`h` (N, C, H, W) brought to each of `shapes` in turn by nearest neighbours, each followed by its layer."""
    for layer, size in zip(layers, shapes, strict=True):
        h = F.silu(layer(F.interpolate(h, size=size, mode="nearest")))
    return h


class ConvDecoder(nn.Module):
    """Vectors to images: one linear layer, then upsampling by nearest neighbours and convolutions.

    Nearest neighbours before a convolution reach any size exactly and leave no checkerboard, as transposed convolutions do.

    Args:
        inputs: shape of one input; flattened.
        channels: channels at each size, from the smallest image to the largest but one.
        outputs: (C, H, W).
        context: size of a context (N, .), given to the linear layer; 0 for none.

    Source: Odena et al. 2016, Deconvolution and Checkerboard Artifacts, doi:10.23915/distill.00003.
    """

    def __init__(self, inputs: Sequence[int], channels: Sequence[int], outputs: Sequence[int], context: int = 0) -> None:
        super().__init__()
        self.inputs, self.channels, self.outputs = tuple(inputs), tuple(channels), tuple(outputs)
        self.context = context
        depth, height, width = self.outputs
        self._sizes = sizes(height, width, len(self.channels))[::-1]
        low, high = self._sizes[0]
        self.first = nn.Linear(prod(self.inputs) + context, self.channels[0] * low * high)
        widths = [*self.channels, self.channels[-1]]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.last = nn.Conv2d(self.channels[-1], depth, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.outputs))  # for each pixel: most pixels of a digit are always black

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        h = F.silu(self.first(beside(z.flatten(1), context, self.context))).unflatten(
            1, (self.channels[0], *self._sizes[0])
        )
        return self.last(upsampled(h, self.layers, self._sizes[1:])) + self.bias

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (C, H, W)."""
        self.bias.copy_(output)
