"""The operations of a bundle's graphs on grids of pixels, in NumPy alone. It lies beside operations.py."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def conv(
    x: Array,
    kernel: Array,
    bias: Array = None,
    strides: Any = (1, 1),
    pads: Any = (0, 0, 0, 0),
    dilations: Any = (1, 1),
    group: int = 1,
    **rest: Any,
) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel.shape[2:], strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    view = view[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    parts = [
        np.tensordot(one, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        for one, weight in zip(np.split(view, group, 1), np.split(kernel, group, 0), strict=True)
    ]
    made = np.concatenate(parts, 1)
    return made if bias is None else made + bias[:, None, None]


def conv_transpose(
    x: Array,
    kernel: Array,
    bias: Array = None,
    strides: Any = (1, 1),
    pads: Any = (0, 0, 0, 0),
    output_padding: Any = (0, 0),
    **rest: Any,
) -> Array:
    height, width = ((size - 1) * step + 1 for size, step in zip(x.shape[2:], strides, strict=True))
    spread = np.zeros((*x.shape[:2], height, width), x.dtype)
    spread[:, :, :: strides[0], :: strides[1]] = x
    tall, wide = (size - 1 for size in kernel.shape[2:])
    low, high = (tall - pads[0], tall - pads[2] + output_padding[0]), (wide - pads[1], wide - pads[3] + output_padding[1])
    spread = np.pad(spread, ((0, 0), (0, 0), low, high))
    return conv(spread, np.flip(kernel, (2, 3)).swapaxes(0, 1), bias)


def resize(x: Array, roi: Array = None, scales: Array = None, sizes: Array = None, **how: Any) -> Array:
    """The nearest neighbour, asymmetric and rounded down, as torch does."""
    for axis, before in enumerate(x.shape):
        after = int(sizes[axis]) if sizes is not None and len(sizes) else int(before * scales[axis])
        if after != before:
            x = x.take(np.arange(after) * before // after, axis)
    return x


def depth_to_space(x: Array, blocksize: int, mode: str = "DCR") -> Array:
    n, channels, height, width = x.shape
    depth = channels // blocksize**2
    if mode == "CRD":
        parts = x.reshape(n, depth, blocksize, blocksize, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, blocksize, blocksize, depth, height, width).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, depth, height * blocksize, width * blocksize)


def pad(x: Array, pads: Array, value: Array = None, axes: Array = None, mode: str = "constant") -> Array:
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(range(x.ndim) if axes is None else axes):
        widths[int(axis)] = (int(pads[place]), int(pads[place + len(pads) // 2]))
    x = x[tuple(slice(max(-low, 0), size - max(-high, 0)) for size, (low, high) in zip(x.shape, widths, strict=True))]
    return np.pad(x, [(max(low, 0), max(high, 0)) for low, high in widths], constant_values=0 if value is None else value)
