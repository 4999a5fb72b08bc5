"""Residual networks for vectors and images: blocks that begin at zero, so that a deep stack starts as a shallow one.

No layer here looks across the batch, so nothing has to change between training and evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.networks.conv import sizes
from unveil.networks.mlp import beside

EVEN = 3**0.5
"""By what a fresh layer of torch's is multiplied to give what is as large as what it is given: a stack that is linear, as
residual networks are before their blocks have learned anything, would otherwise lose almost half at every layer."""


def scaled(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    """Let a fresh layer give `gain` times what it would, without its bias."""
    with torch.no_grad():
        layer.weight.mul_(gain)
        if layer.bias is not None:
            layer.bias.zero_()


class DenseBlock(nn.Module):
    """A correction to a vector: (N, D), and what stands beside it, through one hidden layer to (N, E).

    Args:
        inputs: D.
        hidden: width of the hidden layer.
        outputs: E.
        context: C of a second input (N, C); 0 for none.
        gain: how large the last layer begins; 0 for an output of zero.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, context: int = 0, gain: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs, self.context, self.gain = inputs, hidden, outputs, context, gain
        self.first = nn.Linear(inputs + context, hidden)
        self.last = nn.Linear(hidden, outputs)
        scaled(self.last, gain)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.last(F.silu(self.first(beside(x, context, self.context))))


class ConvBlock(nn.Module):
    """A correction to feature maps of any size: (N, D, H, W), and what lies beside them, to (N, E, H, W).

    Args:
        inputs: D.
        hidden: channels of the hidden layer.
        outputs: E.
        context: C of a second input (N, C, H, W); 0 for none.
        gain: how large the last layer begins; 0 for an output of zero.

    Source: He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027; Zhang et al. 2019, Fixup
    Initialization, arXiv:1901.09321.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, context: int = 0, gain: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs, self.context, self.gain = inputs, hidden, outputs, context, gain
        self.first = nn.Conv2d(inputs + context, hidden, 3, padding=1)
        self.last = nn.Conv2d(hidden, outputs, 1)
        scaled(self.last, gain)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        both = x if context is None else torch.cat([x, context.to(x.dtype)], 1)
        return self.last(F.silu(self.first(F.silu(both))))


class ResidualEncoder(nn.Module):
    """Images to vectors: at each size a convolution of stride two and residual blocks, then one linear layer.

    Args:
        inputs: (C, H, W).
        channels: channels after each halving.
        outputs: shape of one output, (E,).
        context: C of a context (N, C), given to the linear layer; 0 for none.
        blocks: residual blocks at each size.

    Source: He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
    """

    def __init__(
        self, inputs: Sequence[int], channels: Sequence[int], outputs: Sequence[int], context: int = 0, blocks: int = 1
    ) -> None:
        super().__init__()
        self.inputs, self.channels, self.outputs = tuple(inputs), tuple(channels), tuple(outputs)
        self.context, self.blocks = context, blocks
        depth, height, width = self.inputs
        widths = [depth, *self.channels]
        down = [nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(widths)]
        for layer in down:
            scaled(layer, EVEN)
        self.down = nn.ModuleList(down)
        self.residual = nn.ModuleList(
            nn.ModuleList(ConvBlock(width, width, width) for _ in range(blocks)) for width in self.channels
        )
        low, high = sizes(height, width, len(self.channels))[-1]
        self.last = nn.Linear(widths[-1] * low * high + context, self.outputs[0])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for down, blocks in zip(self.down, self.residual, strict=True):
            x = refined(down(x), blocks)
        return self.last(beside(F.silu(x).flatten(1), context, self.context))


class ResidualDecoder(nn.Module):
    """Vectors to images: one linear layer, residual blocks at each size up to half the image's, and patches of pixels.

    No convolution is computed at the size of the image itself, where it would cost as much as most others together.

    Args:
        inputs: shape of one input; flattened.
        channels: channels at each size, from the smallest image to the largest but one.
        outputs: (C, H, W).
        context: size of a context (N, .), given to the linear layer; 0 for none.
        blocks: residual blocks at each size.

    Source: He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
    """

    def __init__(
        self, inputs: Sequence[int], channels: Sequence[int], outputs: Sequence[int], context: int = 0, blocks: int = 1
    ) -> None:
        super().__init__()
        self.inputs, self.channels, self.outputs = tuple(inputs), tuple(channels), tuple(outputs)
        self.context, self.blocks = context, blocks
        _, height, width = self.outputs
        found = sizes(height, width, len(self.channels))[:0:-1]
        shapes = [(depth, *size) for depth, size in zip(self.channels, found, strict=True)]
        self._start = shapes[0]
        self.first = nn.Linear(prod(self.inputs) + context, prod(self._start))
        self.residual = nn.ModuleList(
            nn.ModuleList(ConvBlock(width, width, width) for _ in range(blocks)) for width in self.channels
        )
        rise = [Rise(low[0], high) for low, high in pairwise(shapes)]
        scaled(self.first, EVEN)
        for one in rise:
            scaled(one.mix, EVEN)
        self.rise = nn.ModuleList(rise)
        self.last = PixelDecoder(shapes[-1], self.outputs)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(beside(z.flatten(1), context, self.context)).unflatten(1, self._start)
        first, *others = self.residual
        h = refined(h, first)
        for rise, blocks in zip(self.rise, others, strict=True):
            h = refined(rise(h), blocks)
        return self.last(h)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (C, H, W)."""
        self.last.start_at(output)


def refined(h: Tensor, blocks: nn.Module) -> Tensor:
    """`h` with the correction of each of the `blocks`, a ModuleList, added in turn."""
    for block in blocks.children():
        h = h + block(h)
    return h


class Rise(nn.Module):
    """Feature maps of one size to those of a larger one: channels mixed, then nearest neighbours.

    Args:
        inputs: channels before.
        outputs: (C, H, W) after.
    """

    def __init__(self, inputs: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, tuple(outputs)
        self.mix = nn.Conv2d(inputs, self.outputs[0], 1)

    def forward(self, h: Tensor) -> Tensor:
        return F.interpolate(self.mix(h), size=self.outputs[1:], mode="nearest")


class PixelDecoder(nn.Module):
    """Feature maps of half an image's size, rounded up, to the image: each gives a patch of two by two pixels.

    Args:
        inputs: (D, H / 2, W / 2).
        outputs: (C, H, W).

    Source: Shi et al. 2016, Real-Time Single Image Super-Resolution with a Sub-Pixel CNN, arXiv:1609.05158.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.last = nn.Conv2d(self.inputs[0], 4 * self.outputs[0], 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.outputs))  # for each pixel: most pixels of a digit are always black

    def forward(self, h: Tensor) -> Tensor:
        _, height, width = self.outputs
        image = F.pixel_shuffle(self.last(F.silu(h)), 2)
        return image[..., :height, :width] + self.bias

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        """Let the output begin around `output` (C, H, W)."""
        self.bias.copy_(output)
