"""Labels that stand where they belong and cover no other label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

ROUNDS = 500
"""Most turns in which labels make room for each other."""
GAP = 2.0
"""Points between two of them."""
INCH = 72.0
"""Points to an inch."""


def apart(centres: np.ndarray, sizes: np.ndarray, gap: float = 0.0) -> np.ndarray:
    """(N, 2) centres near those given, of boxes that do not overlap.

    Two that do are pushed away from each other, in the direction in which less is needed, until none do.

    Args:
        centres: (N, 2).
        sizes: (N, 2) widths and heights.
        gap: what is left between two boxes.
    """
    found = centres.astype(float)
    for _ in range(ROUNDS):
        rest = True
        for first, second in combinations(range(len(found)), 2):
            between = found[second] - found[first]
            overlap = (sizes[first] + sizes[second]) / 2 + gap - np.abs(between)
            if overlap.min() > 1e-6:
                rest = False
                way = int(overlap.argmin())
                push = overlap[way] / 2 * (1.0 if between[way] >= 0 else -1.0)
                found[first, way] -= push
                found[second, way] += push
        if rest:
            break
    return found


def settle(figure: Figure, labels: Sequence[Annotation], upright: bool = False) -> np.ndarray:
    """Move labels, which are placed by offsets in points, off each other; (N, 2) by how many points each was moved.

    Args:
        figure: complete but for this.
        labels: of one pair of axes.
        upright: whether they are to move up and down alone.
    """
    figure.draw_without_rendering()
    scale = INCH / figure.dpi
    boxes = [(label.get_bbox_patch() or label).get_window_extent() for label in labels]
    centres = scale * np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
    sizes = scale * np.array([[np.inf if upright else box.width, box.height] for box in boxes])
    moved = apart(centres, sizes, GAP) - centres
    for label, (x, y) in zip(labels, moved, strict=True):
        start = label.xyann
        label.xyann = (start[0] + x, start[1] + y)
    return moved
