"""One look for every picture: size, colours, and how a figure becomes a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unveil.store import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's 'muted' scheme, told apart by colour-blind readers, with a gray that carries on white
PALETTE = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)
INK = "#333333"
DPI = 150


def blank(width: float, height: float, title: str, note: str = "") -> tuple[Figure, Axes]:
    """A figure of that size in inches with one bare pair of axes, a title, and a note in small print below it."""
    figure, every = stacked(width, height, (1.0,), title, note)
    return figure, every[0]


def stacked(width: float, height: float, shares: Sequence[float], title: str, note: str = "") -> tuple[Figure, list[Axes]]:
    """The same with several pairs of axes one over the other, of heights in these proportions, over the same x."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    every = figure.subplots(len(shares), 1, sharex=True, squeeze=False, height_ratios=list(shares)).ravel().tolist()
    axes = every[0]
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=20 if note else 8)
    if note:
        axes.annotate(
            note, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8, color="#666666"
        )
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=INK)
    return figure, every


def panels(rows: int, columns: int, title: str, note: str) -> tuple[Figure, list[Axes]]:
    """A figure of small pairs of axes, row by row, under one title, over a note."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(2.4 * columns, 6.0), 1.7 * rows + 0.9), dpi=DPI, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color="#666666")
    every = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, colors=INK)
    return figure, every


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all. Names are shown as they are: a '$' in one begins no formula."""
    _plainly(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write(path, buffer.getvalue())
    return path


def drawn(figure: Figure) -> np.ndarray:
    """(H, W, 3) bytes of a figure as `save` draws it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _plainly(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _plainly(figure: Figure) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
