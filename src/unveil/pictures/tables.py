"""Columns of a table, of data and of samples one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from unveil.pictures.style import INK, PALETTE, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA, SAMPLES = PALETTE[1], PALETTE[0]
BINS = 30
OUTER = 0.005
"""Share of the data left out at either end, so that a few numbers far out do not flatten the rest."""
MOST = 12
"""Classes that have room; of more, the most frequent."""
LETTERS = 8
"""Of a class's name that have room."""


@dataclass(frozen=True)
class Column:
    """A column of data and of samples.

    Attributes:
        name: what it is called.
        data: numbers, or numbers of classes; gaps left out.
        samples: likewise.
        words: what the classes are called; empty for numbers.
    """

    name: str
    data: np.ndarray
    samples: np.ndarray
    words: tuple[str, ...] = ()


def marginals(columns: Sequence[Column], title: str, note: str) -> Figure:
    """A histogram for each column: data filled, samples as a line; or bars for each class.

    Args:
        columns: as many as are to be drawn.
        title: what it shows.
        note: how it was made.
    """
    across = min(4, len(columns))
    figure, every = panels(ceil(len(columns) / across), across, title, note)
    for axes in every[len(columns) :]:
        axes.set_visible(False)
    for axes, column in zip(every, columns, strict=False):
        (_classes if column.words else _numbers)(axes, column)
        axes.set_title(column.name, loc="left", fontsize=9, color=INK)
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
    return figure


def _numbers(axes: Axes, column: Column) -> None:
    low, high = np.quantile(column.data if len(column.data) else column.samples, [OUTER, 1 - OUTER])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    if bool((column.data == column.data.round()).all()):
        step = max(1, ceil((high - low + 1) / BINS))
        edges = np.arange(low, high + step + 1, step) - 0.5
    else:
        edges = np.linspace(low, high, BINS + 1)
    # of all rows, so that what lies outside is missing from the line and not spread over the inside
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in (column.data, column.samples)]
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.stairs(shares[0], edges, fill=True, color=DATA)
    axes.stairs(shares[1], edges, color=SAMPLES, linewidth=1.4, baseline=None)


def _classes(axes: Axes, column: Column) -> None:
    counts = [np.bincount(values.astype(int), minlength=len(column.words)) for values in (column.data, column.samples)]
    chosen = np.sort(np.argsort(-counts[0], kind="stable")[:MOST])
    shares = [count[chosen] / max(count.sum(), 1) for count in counts]
    places = np.arange(len(chosen))
    axes.bar(places, shares[0], 0.8, color=DATA)
    axes.hlines(shares[1], places - 0.4, places + 0.4, color=SAMPLES, linewidth=1.8)
    names = [column.words[place] for place in chosen]
    names = [name if len(name) <= LETTERS else name[: LETTERS - 1] + "…" for name in names]
    axes.set_xticks(places, names, rotation=0 if sum(map(len, names)) < 22 else 60, fontsize=7)
