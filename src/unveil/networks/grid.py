"""Convolutional networks between images and grids of vectors, for images of any size, odd ones included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.networks.conv import sizes, upsampled


def grid_size(image: Sequence[int], levels: int) -> tuple[int, int]:
    """Height and width of the grid that an image (C, H, W) comes to after `levels` halvings."""
    _, height, width = image
    return sizes(height, width, levels)[-1]


class GridEncoder(nn.Module):
    """Images to a vector for each cell of a grid, row by row: convolutions of stride two, then one of a single pixel.

    Args:
        inputs: (C, H, W).
        channels: channels after each halving.
        dimensions: of the vector of each cell; the output is (N, cells, dimensions).
    """

    def __init__(self, inputs: Sequence[int], channels: Sequence[int], dimensions: int) -> None:
        super().__init__()
        self.inputs, self.channels, self.dimensions = tuple(inputs), tuple(channels), dimensions
        widths = [self.inputs[0], *self.channels]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], dimensions, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.silu(layer(x))
        cells: Tensor = self.last(x)
        return cells.flatten(2).transpose(1, 2)


class GridDecoder(nn.Module):
    """A vector for each cell of a grid, (N, cells, dimensions), to images: convolutions between upsamplings.

    Args:
        dimensions: of the vector of each cell.
        channels: channels at each size, from the grid to the largest but one.
        outputs: (C, H, W).
    """

    def __init__(self, dimensions: int, channels: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.dimensions, self.channels, self.outputs = dimensions, tuple(channels), tuple(outputs)
        depth, height, width = self.outputs
        self._sizes = sizes(height, width, len(self.channels))[::-1]
        self.first = nn.Conv2d(dimensions, self.channels[0], 3, padding=1)
        widths = [*self.channels, self.channels[-1]]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.last = nn.Conv2d(self.channels[-1], depth, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.outputs))  # for each pixel: most pixels of a digit are always black

    def forward(self, z: Tensor) -> Tensor:
        h = F.silu(self.first(z.transpose(1, 2).unflatten(2, self._sizes[0])))
        return self.last(upsampled(h, self.layers, self._sizes[1:])) + self.bias

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (C, H, W)."""
        self.bias.copy_(output)


class Summed(nn.Module):
    """A network that sees the sum of every `count` vectors in a row: (N, positions * count, D) as (N, positions, D).

    Args:
        network: what sees the sums.
        count: how many make one.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, z: Tensor, *context: Tensor) -> Tensor:
        result: Tensor = self.network(z.unflatten(1, (-1, self.count)).sum(2), *context)
        return result
