"""Charts from arrays: the latent plane and the training curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unveil.pictures.style import INK, PALETTE, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FEW = 50
"""Points of a label below which its densest place is an accident, and its median says more."""


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
        for kind, colour in zip(kinds, PALETTE, strict=False):
            middle = _heart(points, labels == kind)
            shape = "round,pad=0.3" if classes else "circle,pad=0.25"
            box = {"boxstyle": shape, "facecolor": "white", "edgecolor": colour, "linewidth": 1.8}
            name = classes[kind] if kind < len(classes) else str(kind)
            axes.annotate(name, middle, ha="center", va="center", fontsize=11, fontweight="bold", color=INK, bbox=box)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(axis_names[0], fontsize=9, color=INK)
    axes.set_ylabel(axis_names[1], fontsize=9, color=INK)
    return figure


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
            marks if axis is axes.xaxis else [extent - mark for mark in marks], [f"{levels[i]:.0%}" for i in place]
        )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(f"prior quantile of {axis_names[0]}", fontsize=9, color=INK)
    axes.set_ylabel(f"prior quantile of {axis_names[1]}", fontsize=9, color=INK)
    return figure


def curves(records: Sequence[dict], title: str, note: str) -> Figure:
    """-ELBO, distortion and rate over the epochs, training and validation.

    Args:
        records: lines of metrics.jsonl.
        title: what it shows.
        note: how it was made.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = blank(8, 5, title, note)
    epochs = [record["epoch"] for record in records]
    drawn = [
        (name, label, colour)
        for name, label, colour in (
            ("neg_elbo", "-ELBO", PALETTE[0]),
            ("distortion", "distortion", PALETTE[6]),
            ("rate", "rate", PALETTE[2]),
        )
        if name in records[0]
    ]
    for name, label, colour in drawn:
        axes.plot(epochs, [record[name] for record in records], color=colour, lw=1.8)
        checked = [record for record in records if "validation" in record]
        axes.plot(
            [record["epoch"] for record in checked],
            [record["validation"][name] for record in checked],
            color=colour,
            lw=1.2,
            ls=(0, (4, 2)),
        )
        last = records[-1]["validation"][name] if "validation" in records[-1] else records[-1][name]
        axes.annotate(
            f"{label} {last:.1f}",
            (epochs[-1], last),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
    # the first epochs tower over the rest and would flatten it
    tallest = max(record[drawn[0][0]] for record in records[min(1, len(records) - 1) :])
    axes.set_ylim(0 if tallest > 0 else None, tallest * 1.08 if tallest > 0 else None)
    axes.set_xlabel("epoch", fontsize=9, color=INK)
    axes.set_ylabel("nats per example", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    return figure
