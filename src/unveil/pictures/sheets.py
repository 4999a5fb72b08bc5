"""Sheets of images: plain pixels, enlarged without smoothing."""

from __future__ import annotations

import io
from math import ceil, sqrt
from pathlib import Path

import numpy as np

from unveil.errors import DataError
from unveil.store import write

GAP = 1
"""Pixels between two images, before enlargement."""
WIDTH = 1_000
"""Pixels that a sheet is enlarged to, about."""


def sheet(images: np.ndarray, columns: int | None = None, gap: int = GAP) -> np.ndarray:
    """(H', W', C) bytes: images (N, C, H, W) with values in [0, 1], row by row, dark on light.

    Raises:
        DataError: these are no images of one or three channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(f"examples of shape {images.shape[1:]} are no images; write them as .npy")
    count, channels, height, width = images.shape
    columns = columns or ceil(sqrt(count))
    rows = ceil(count / columns)
    pixels = np.clip(images, 0, 1)
    if channels == 1:
        pixels = 1 - pixels  # ink on paper
    canvas = np.ones((rows, columns, channels, height + gap, width + gap), np.float32)
    canvas.reshape(rows * columns, channels, height + gap, width + gap)[:count, :, :height, :width] = pixels
    flat = canvas.transpose(0, 3, 1, 4, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    return np.round(255 * flat[: flat.shape[0] - gap, : flat.shape[1] - gap]).astype(np.uint8)


def png(pixels: np.ndarray, width: int = WIDTH) -> bytes:
    """A PNG of (H, W, C) bytes, each pixel enlarged to a whole number of pixels, about `width` in all."""
    from PIL import Image

    factor = max(1, round(width / pixels.shape[1]))
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(buffer, "png")
    return buffer.getvalue()


def save_sheet(images: np.ndarray, path: Path, columns: int | None = None, gap: int = GAP) -> Path:
    """Write a sheet as PNG, whole or not at all."""
    content = png(sheet(images, columns, gap))
    write(path, content)
    return path


def pairs(originals: np.ndarray, copies: np.ndarray, columns: int) -> np.ndarray:
    """(2 N, C, H, W): rows of originals, each with the row of its copies below."""
    blocks = []
    for start in range(0, len(originals), columns):
        for images in (originals, copies):
            row = images[start : start + columns]
            blank = np.zeros((columns - len(row), *row.shape[1:]), row.dtype)
            blocks.append(np.concatenate([row, blank]))
    return np.concatenate(blocks)
