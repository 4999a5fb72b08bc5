"""Rendered shapes whose factors are known: every combination of 3 shapes, 4 sizes, 8 orientations, 10 x and 10 y, once.

A square, an ellipse and a heart are drawn from implicit functions, anti-aliased, white on black, as 28 x 28 bytes. Each
pixel counts how many of 8 x 8 points lie inside, in whole numbers throughout: no rounding can differ, so the bytes are the
same on every platform. Nothing is downloaded, and nothing in it is anybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import cos, pi, sin

import numpy as np
import torch

from unveil.data.arrays import from_arrays
from unveil.data.dataset import Dataset
from unveil.data.space import Measure

ATTRIBUTION = "shapes drawn by Unveil from formulas: no other's data"
FACTORS = ("shape", "size", "orientation", "x", "y")
"""In the order in which `images` counts through them, the last one fastest."""
NAMES = ("square", "ellipse", "heart")
"""The values of the first factor, which are the labels as well."""
SIZES = (40, 48, 58, 69)
"""Half the side of a square, in sixteenths of a pixel. An ellipse or a heart of that size has the same area."""
TURNS = 8
"""Orientations, anticlockwise in steps of 90 / 8 degrees: a square begins to repeat itself after a quarter turn."""
PLACES = 10
"""Positions along each axis, a pixel and a half apart, of the shape's centre of mass; y runs downwards, as rows do."""
SIDE = 28
"""Pixels along each edge of an image."""
FINE = 8
"""Points along each edge of a pixel."""
PATCH = 16
"""Pixels along each edge of the patch that holds a shape of any size and orientation."""
STEP = 12
"""From one position to the next, in points."""
ONE = 4096
"""What stands for 1 in sines and cosines."""

Inside = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Which points lie inside, of u to the right and v upwards, in units of 1 / (16 ONE) pixel, for a size in those units."""


def _square(u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= size


def _ellipse(u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    """Twice as wide as it is high, with the area of the square: pi a^2 / 2 = 4 size^2."""
    return u**2 + 4 * v**2 <= (size * 1596 // 1000) ** 2


def _heart(u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    """A square on its tip, half a disc on each upper side, about the centre of mass of the whole.

    With half its side g, the area is (4 + pi) g^2 = 4 size^2, and its centre of mass lies 0.3131 g from that of the square
    towards either disc.
    """
    half = size * 748 // 1000
    shift = half * 3131 // 10_000
    # along the upper sides, in units of ONE: the frame is turned by 45 degrees
    right = (u + v) * 2896 // ONE + shift
    left = (v - u) * 2896 // ONE + shift
    square = np.maximum(abs(right), abs(left)) <= half
    discs = ((right - half) ** 2 + left**2 <= half**2) | (right**2 + (left - half) ** 2 <= half**2)
    return square | discs


INSIDE: tuple[Inside, ...] = (_square, _ellipse, _heart)


def _masks() -> np.ndarray:
    """(shapes * sizes * turns, points, points) bool: which points of its patch lie inside each shape."""
    middle = 2 * np.arange(PATCH * FINE, dtype=np.int64) + 1 - PATCH * FINE  # of each point, in sixteenths of a pixel
    right, up = middle[None, :], -middle[:, None]
    masks = []
    for inside, size, turn in product(INSIDE, SIZES, range(TURNS)):
        angle = pi / 2 * turn / TURNS
        # no product with ONE comes near a half, so that the last bit of a platform's sine makes no difference
        c, s = round(ONE * cos(angle)), round(ONE * sin(angle))
        masks.append(inside(c * right + s * up, c * up - s * right, size * ONE))
    return np.stack(masks)


def images() -> np.ndarray:
    """(9600, 28, 28) bytes, row by row as `factors` says."""
    masks = _masks()
    # the middle of the image lies between positions 4 and 5; positions in points fall on a pixel's edge or its middle
    starts = [SIDE * FINE // 2 - PATCH * FINE // 2 + (2 * place - PLACES + 1) * STEP // 2 for place in range(PLACES)]
    counts: dict[tuple[int, int], np.ndarray] = {}
    canvas = np.zeros((len(masks), PLACES, PLACES, SIDE + 2 * PATCH, SIDE + 2 * PATCH), np.uint8)
    for (i, left), (j, top) in product(enumerate(starts), repeat=2):
        (column, across), (row, down) = divmod(left, FINE), divmod(top, FINE)
        if (across, down) not in counts:
            counts[across, down] = _bytes(masks, across, down)
        patch = counts[across, down]
        rows, columns = (slice(PATCH + start, PATCH + start + patch.shape[1]) for start in (row, column))
        canvas[:, i, j, rows, columns] = patch
    frame = slice(PATCH, PATCH + SIDE)
    return np.ascontiguousarray(canvas[..., frame, frame]).reshape(-1, SIDE, SIDE)


def _bytes(masks: np.ndarray, across: int, down: int) -> np.ndarray:
    """The share of each pixel's points that lie inside, as bytes, with the patch moved by so many points."""
    moved = np.pad(masks, ((0, 0), (down, FINE - down), (across, FINE - across)))
    side = PATCH + 1
    points = moved.reshape(-1, side, FINE, side, FINE).sum((2, 4), dtype=np.int64)
    return ((255 * points + FINE**2 // 2) // FINE**2).astype(np.uint8)


def factors() -> np.ndarray:
    """(9600, 5) the factors of each image, each numbered from 0."""
    counts = (len(NAMES), len(SIZES), TURNS, PLACES, PLACES)
    return np.stack(np.unravel_index(np.arange(np.prod(counts)), counts), 1)


def load(measure: Measure | None = None) -> Dataset:
    """7,680 training, 960 validation and 960 test images, binarised stochastically unless `measure` says otherwise.

    No two images are the same, and no combination of factors is in two splits: what a model makes of the test split is what
    it makes of combinations that it never saw. Every factor but the shape has its values in order.
    """
    known = factors()
    data = from_arrays(
        torch.from_numpy(images()), known[:, 0], "shapes", measure, factors=known, factor_names=FACTORS, ordered=FACTORS[1:]
    )
    return replace(data, attribution=ATTRIBUTION)
