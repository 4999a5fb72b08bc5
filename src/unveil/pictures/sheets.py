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


def sheet(images: np.ndarray, columns: int | None = None, gap: int = GAP, ink: bool = False) -> np.ndarray:
    """(H', W', C) bytes: images (N, C, H, W) with values in [0, 1], row by row, on white.

    Args:
        images: what is NaN stays white, as what lies between them is.
        columns: images to a row; None for a sheet that is about square.
        gap: pixels between two images.
        ink: whether they are drawn as ink on paper: dark where they are large.

    Raises:
        DataError: these are no images of one or three channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(f"examples of shape {images.shape[1:]} are no images; write them as .npy")
    count, channels, height, width = images.shape
    columns = columns or ceil(sqrt(count))
    rows = ceil(count / columns)
    pixels = np.nan_to_num(_drawn(np.clip(images, 0, 1), ink), nan=1.0)
    canvas = np.ones((rows, columns, channels, height + gap, width + gap), np.float32)
    canvas.reshape(rows * columns, channels, height + gap, width + gap)[:count, :, :height, :width] = pixels
    flat = canvas.transpose(0, 3, 1, 4, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    return np.round(255 * flat[: flat.shape[0] - gap, : flat.shape[1] - gap]).astype(np.uint8)


def _drawn(images: np.ndarray, ink: bool) -> np.ndarray:
    return 1 - images if ink else images


def png(pixels: np.ndarray, width: int = WIDTH) -> bytes:
    """A PNG of (H, W, C) bytes, each pixel enlarged to a whole number of pixels, about `width` in all."""
    from PIL import Image

    large, buffer = enlarged(pixels, width), io.BytesIO()
    Image.fromarray(large.squeeze(-1) if large.shape[-1] == 1 else large).save(buffer, "png")
    return buffer.getvalue()


def enlarged(pixels: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """(H, W, C) with each pixel enlarged to a whole number of pixels, about `width` in all, and never made smaller."""
    factor = max(1, round(width / pixels.shape[1]))
    return pixels.repeat(factor, 0).repeat(factor, 1)


def save_sheet(images: np.ndarray, path: Path, columns: int | None = None, gap: int = GAP, ink: bool = False) -> Path:
    """Write a sheet as PNG, enlarged, whole or not at all."""
    content = png(sheet(images, columns, gap, ink))
    write(path, content)
    return path


def save_image(image: np.ndarray, path: Path) -> Path:
    """Write one image (C, H, W) with values in [0, 1] as PNG: its own pixels and tones, whole or not at all."""
    write(path, png(sheet(image[None]), width=0))
    return path


def maps(nats: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) colours of maps (N, C, H, W): white at zero, red above it, blue below, on one scale for all.

    The scale ends where a hundredth of the entries lie beyond it on either side, so that one entry cannot fade the rest.
    """
    flat = nats.sum(1)
    most = max(float(np.quantile(np.abs(flat), 0.99)), 1e-12)
    red, blue = np.clip(flat / most, 0, 1), np.clip(-flat / most, 0, 1)
    return np.stack([1 - blue, 1 - np.maximum(red, blue), 1 - red], 1)


def on_paper(images: np.ndarray, ink: bool = False) -> np.ndarray:
    """(N, 3, H, W) of images (N, C, H, W) with values in [0, 1], as a sheet shows them."""
    drawn = _drawn(images, ink)
    return np.repeat(drawn, 3, 1) if images.shape[1] == 1 else drawn


def pairs(originals: np.ndarray, copies: np.ndarray, columns: int) -> np.ndarray:
    """(2 N, C, H, W): rows of originals, each with the row of its copies below; NaN where the last ones have no more."""
    blocks = []
    for start in range(0, len(originals), columns):
        for images in (originals, copies):
            row = images[start : start + columns]
            blank = np.full((columns - len(row), *row.shape[1:]), np.nan, row.dtype)
            blocks.append(np.concatenate([row, blank]))
    return np.concatenate(blocks)
