"""Charts from arrays: the latent plane and the training curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unveil.pictures.labels import settle
from unveil.pictures.style import INK, PALETTE, blank, stacked
from unveil.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation


FEW = 50
"""Points of a label below which its densest place is an accident, and its median says more."""
NEAR = 12.0
"""Points by which a label may stand off its place without a line that leads there."""
CURVES = {
    "neg_elbo": ("-ELBO", PALETTE[0]),
    "distortion": ("distortion", PALETTE[6]),
    "rate": ("rate", PALETTE[2]),
}
"""What the curves of a record are called, and their colours."""
LONG = 10
"""Epochs from which on the first ones, which tower over all others, may lie outside of a chart."""
TOWERS = 0.05
"""Share of the epochs, the first of them, that may tower over the rest and would flatten it."""


def latent_plane(
    points: np.ndarray,
    labels: np.ndarray | None,
    title: str,
    note: str,
    axis_names: tuple[str, str],
    classes: Sequence[str] = (),
) -> Figure:
    """Encoded examples as points, coloured by label; each label also stands where its points are most by themselves.

    Args:
        points: (N, 2).
        labels: (N,) integers, or None.
        title: what it shows.
        note: how it was made.
        axis_names: of the two coordinates.
        classes: names of the labels 0, 1, 2, ...; empty where they are but numbers.
    """
    figure, axes = blank(8, 7.4, title, note)
    kinds = [] if labels is None else np.unique(labels).tolist()
    size = float(np.clip(30_000 / max(len(points), 1), 3, 30))
    if not kinds or len(kinds) > len(PALETTE):
        axes.scatter(points[:, 0], points[:, 1], s=size, c=PALETTE[0], alpha=0.5, linewidths=0)
    else:
        assert labels is not None
        colours = np.array([PALETTE[kinds.index(label)] for label in labels.tolist()])
        # in a shuffled order, so that no label lies on top of all others
        shuffled = np.random.default_rng(0).permutation(len(points))
        axes.scatter(points[shuffled, 0], points[shuffled, 1], s=size, c=colours[shuffled], alpha=0.7, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(axis_names[0], fontsize=9, color=INK)
    axes.set_ylabel(axis_names[1], fontsize=9, color=INK)
    if labels is not None and 0 < len(kinds) <= len(PALETTE):
        names = [classes[kind] if kind < len(classes) else str(kind) for kind in kinds]
        _name_hearts(figure, axes, np.array([_heart(points, labels == kind) for kind in kinds]), names)
    return figure


def _name_hearts(figure: Figure, axes: Axes, hearts: np.ndarray, names: Sequence[str]) -> None:
    """Write each label at its heart (N, 2), or near it where another one stands there, with a line that leads to it."""
    shape = "circle,pad=0.25" if all(len(name) == 1 for name in names) else "round,pad=0.3"
    written = []
    for heart, name, colour in zip(hearts, names, PALETTE, strict=False):
        box = {"boxstyle": shape, "facecolor": "white", "edgecolor": colour, "linewidth": 1.8, "alpha": 0.9}
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11, "fontweight": "bold", "color": INK}
        written.append(axes.annotate(name, heart, (0, 0), textcoords="offset points", bbox=box, zorder=4, **look))
    for heart, way, colour in zip(hearts, settle(figure, written), PALETTE, strict=False):
        if np.hypot(*way) > NEAR:
            line = {"arrowstyle": "-", "color": colour, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", heart, way, textcoords="offset points", arrowprops=line, zorder=3)
            axes.plot(*heart, "o", color=colour, markeredgecolor="white", markersize=5, zorder=3)


def _heart(points: np.ndarray, mine: np.ndarray, candidates: int = 200) -> tuple[float, float]:
    """Where a label stands most by itself: many of its own points near, few others. Middles may coincide."""
    own = points[mine][:candidates]
    if len(own) < FEW:
        x, y = np.median(own, axis=0).tolist()
        return x, y
    radius = 0.15 * points.std()
    near = np.square(own[:, None] - points[None]).sum(-1) < radius**2
    x, y = own[np.argmax((near & mine).sum(1) - (near & ~mine).sum(1))].tolist()
    return x, y


def manifold(pixels: np.ndarray, levels: Sequence[float], title: str, note: str, axis_names: tuple[str, str]) -> Figure:
    """The sheet of decoded grid points, with the prior's quantiles along its edges.

    Args:
        pixels: (H, W, C) bytes of a sheet without gaps.
        levels: the quantile of each column, in rising order; rows have the same, from bottom to top.
        title: what it shows.
        note: how it was made.
        axis_names: of the two coordinates.
    """
    figure, axes = blank(8, 8.3, title, note)
    axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    shown = list(range(0, len(levels), max(1, (len(levels) - 1) // 5)))
    for place, extent, axis in ((shown, pixels.shape[1], axes.xaxis), (shown, pixels.shape[0], axes.yaxis)):
        step = extent / len(levels)
        marks = [(i + 0.5) * step for i in place]
        axis.set_ticks(
            marks if axis is axes.xaxis else [extent - mark for mark in marks], [f"{100 * levels[i]:.3g}%" for i in place]
        )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(f"prior quantile of {axis_names[0]}", fontsize=9, color=INK)
    axes.set_ylabel(f"prior quantile of {axis_names[1]}", fontsize=9, color=INK)
    return figure


def curves(records: Sequence[dict], title: str, note: str) -> Figure:
    """-ELBO, distortion and rate over the epochs, training and validation; the rate, which is far smaller, below.

    Args:
        records: lines of metrics.jsonl.
        title: what it shows.
        note: how it was made.

    Raises:
        KeyError: no record has any of these figures.
    """
    from matplotlib.ticker import MaxNLocator

    groups = [[name for name in group if _values(records, name)] for group in (("neg_elbo", "distortion"), ("rate",))]
    groups = [group for group in groups if group]
    if not groups:
        raise KeyError("neg_elbo")
    figure, every = stacked(8, 5, (2.2, 1.0)[: len(groups)], title, note)
    for axes, names in zip(every, groups, strict=True):
        labels = [_curve(axes, records, name) for name in names]
        limits = _limits([value for name in names for value in _values(records, name, late=True)])
        if limits is not None:
            axes.set_ylim(*limits)
        axes.set_ylabel("nats per example" if len(names) > 1 else "nats", fontsize=9, color=INK)
        axes.ticklabel_format(axis="y", style="plain", useOffset=False)
        axes.grid(axis="y", color="#E6E6E6", lw=0.6)
        axes.set_axisbelow(True)
        settle(figure, labels, upright=True)
    every[-1].set_xlabel("epoch", fontsize=9, color=INK)
    every[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(records) == 1:
        every[-1].set_xlim(records[0]["epoch"] - 0.5, records[0]["epoch"] + 0.5)
    return figure


def _values(records: Sequence[dict], name: str, late: bool = False) -> list[float]:
    """All that is known of a figure, in training and validation; of the `late` ones that without the first epochs."""
    first = max(1, round(TOWERS * len(records))) if late and len(records) >= LONG else 0
    seen = [one.get(name) for record in records[first:] for one in (record, record.get("validation", {}))]
    return [value for value in seen if value is not None]


def _limits(values: Sequence[float]) -> tuple[float, float] | None:
    """From the least to the largest, with a margin; None where they are the same."""
    low, high = min(values), max(values)
    return (low - 0.06 * (high - low), high + 0.06 * (high - low)) if low < high else None


def _curve(axes: Axes, records: Sequence[dict], name: str) -> Annotation:
    """Draw a figure, training solid and validation dashed; its label, which stands where it ends."""
    label, colour = CURVES[name]
    ends = []
    for kept, width, style in (
        ([(r["epoch"], r.get(name)) for r in records], 1.8, "-"),
        ([(r["epoch"], r["validation"].get(name)) for r in records if "validation" in r], 1.2, (0, (4, 2))),
    ):
        known = [(epoch, value) for epoch, value in kept if value is not None]
        marker = "o" if len(known) == 1 else None  # a line needs two
        axes.plot(*zip(*known, strict=True) if known else ([], []), color=colour, lw=width, ls=style, marker=marker, ms=4)
        ends += known[-1:]
    last = ends[-1]
    where: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    return axes.annotate(f"{label} {number(last[1], 3)}", last, (8, 0), fontsize=9, color=colour, **where)
