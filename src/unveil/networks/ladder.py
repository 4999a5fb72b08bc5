"""The deterministic ways up and down a ladder of latent variables: features of x at each rung, and changes of size.

A way up gives one tensor of features for each layer of z, that of the first (topmost, coarsest) layer first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.networks.conv import sizes
from unveil.networks.mlp import beside
from unveil.networks.residual import ConvBlock, DenseBlock


class DenseLadder(nn.Module):
    """A way up for vectors: a layer, then residual blocks, whose outputs are the features.

    Args:
        inputs: shape of one input; flattened.
        width: of all features, (N, width) each.
        rungs: how many features there are to be, at least 1.
        context: C of a context (N, C) that stands beside the input; 0 for none.
    """

    def __init__(self, inputs: Sequence[int], width: int, rungs: int, context: int = 0) -> None:
        super().__init__()
        self.inputs, self.width, self.rungs, self.context = tuple(inputs), width, rungs, context
        self.first = nn.Linear(torch.Size(self.inputs).numel() + context, width)
        self.blocks = nn.ModuleList(DenseBlock(width, width, width, gain=rungs**-0.5) for _ in range(rungs - 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        features = [F.silu(self.first(beside(x.flatten(1), context, self.context)))]
        for block in self.blocks:
            features.append(features[-1] + block(features[-1]))
        return tuple(features[::-1])


class ConvLadder(nn.Module):
    """A way up for images of any size: at each size a convolution of stride two, and a residual block for each rung.

    The last features of all are given twice: to the first layer of z, above all sizes, and to the first at the smallest.

    Args:
        inputs: (C, H, W).
        channels: channels after each halving.
        rungs: how many layers of z lie at each size, each at least 1; in the order of `channels`.
        context: C of a context (N, C) that shifts the channels of the first size; 0 for none.
    """

    def __init__(self, inputs: Sequence[int], channels: Sequence[int], rungs: Sequence[int], context: int = 0) -> None:
        super().__init__()
        self.inputs, self.channels, self.rungs = tuple(inputs), tuple(channels), tuple(rungs)
        self.context = context
        widths = [self.inputs[0], *self.channels]
        self.down = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList(ConvBlock(width, width, width) for _ in range(count))
            for width, count in zip(self.channels, self.rungs, strict=True)
        )
        self.shift = nn.Linear(context, self.channels[0], bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        given = beside(x.new_zeros(x.shape[0], 0), context, self.context)
        features: list[Tensor] = []
        for place, (down, blocks) in enumerate(zip(self.down, self.blocks, strict=True)):
            x = down(x) if place == 0 else down(F.silu(x))
            if place == 0 and self.shift is not None:
                x = x + self.shift(given)[:, :, None, None]
            for block in blocks.children():
                x = x + block(x)
                features.append(x)
        return (features[-1], *features[::-1])

    def shapes(self) -> list[tuple[int, int, int]]:
        """(C, H, W) of the features at each size, from the largest to the smallest."""
        _, height, width = self.inputs
        found = sizes(height, width, len(self.channels))[1:]
        return [(depth, *size) for depth, size in zip(self.channels, found, strict=True)]
