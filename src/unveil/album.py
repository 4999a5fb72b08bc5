"""The pictures of a run: what its model makes of the data, drawn from arrays and left in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unveil import generation, pictures
from unveil.data import Dataset, Field, Space, Split, column, is_ink
from unveil.data.facts import short
from unveil.models import Model
from unveil.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 20
"""Points to a side of the manifold."""
SHEET = 100
"""Samples on a sheet."""
ROWS = 10_000
"""Samples whose columns are drawn, and most test rows."""
COLUMNS = 24
"""Most columns that are drawn."""


def draw(model: Model, data: Dataset, records: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw everything that can be drawn of this model and these data into `folder`.

    Args:
        model: trained, flat.
        data: its test split is shown.
        records: lines of metrics.jsonl, for the curves.
        folder: made if need be.
    """
    return [
        path for pictures_of in (_plane, _images, _columns, _curves) for path in pictures_of(model, data, records, folder)
    ]


def draw_without_data(
    model: Model,
    space: Space,
    context: Tensor | None,
    title: str,
    records: Sequence[dict[str, Any]],
    folder: Path,
    ink: bool = False,
) -> list[Path]:
    """Draw what shows nothing of the data: the manifold of a plane, samples, and the curves of training.

    Args:
        model: trained.
        space: of its x.
        context: (n, C) what samples of a conditional model are given; None for others.
        title: what the data are called.
        records: lines of metrics.jsonl.
        folder: made if need be.
        ink: whether x is drawn dark where it is large.
    """
    drawn = []
    if space.is_image:
        z = generation.latent_shape(model, space.shape, context)
        if context is None and len(z) == 1 and z[0] <= 2:
            plane = generation.plane(model, torch.zeros(2, *z))
            drawn.append(_manifold(model, plane, folder / "manifold.png", space.white, ink))
        x = model.sample(SHEET, context, seed=0, mean=True)
        drawn.append(samples(x / space.white, folder / "samples.png", ink=ink))
    return [*drawn, *_training(records, title, folder)]


def reconstructions(
    model: Model, data: Dataset, path: Path, split: str = "test", count: int = 40, columns: int = 10
) -> Path:
    """Rows of originals, each with the row of its reconstructions E[x|z] at the posterior mean below."""
    chosen = generation.pick(data.split(split), count)
    originals, copies = chosen.reading.mean(chosen.values[:]), generation.reconstruct(model, chosen)
    sheet = pictures.pairs(originals.numpy(), copies.numpy(), columns) / data.space.white
    return pictures.save_sheet(sheet, path, columns, ink=is_ink(data))


def _plane(model: Model, data: Dataset, records: Sequence[dict[str, Any]], folder: Path) -> Iterator[Path]:
    figure, plane = latent_plane(model, data, data.test)
    yield pictures.save(figure, folder / "latent_plane.png")
    if plane is not None:
        yield _manifold(model, plane, folder / "manifold.png", data.space.white, is_ink(data))


def latent_plane(model: Model, data: Dataset, split: Split) -> tuple[Figure, generation.Plane | None]:
    """Where the model puts the examples of a split, and the plane that this is in, where its points can be decoded."""
    encoded = generation.encode(model, split)
    context = None if split.context is None else split.context[0]
    plane = generation.plane(model, encoded.mean.flatten(1), context)
    explained = f"{sum(plane.explained):.0%} of the variance of the posterior means"
    how = f"posterior means of {counted(len(split), f'{split.name} example')}"
    how += f" on their two principal directions, {explained}" * plane.principal
    labels = None if encoded.label is None else encoded.label.numpy()
    points = plane.coordinates(encoded.mean.flatten(1))
    title = f"{short(data.name)} in the latent plane"
    figure = pictures.latent_plane(points.numpy(), labels, title, how, axis_names(plane), data.classes)
    # a conditional model has a manifold for every context, and z of several kinds of numbers has no plane to decode
    whole = data.space.is_image and split.context is None and encoded.mean.dim() == 2
    return figure, plane if whole else None


def manifold(model: Model, plane: generation.Plane, white: float, ink: bool) -> np.ndarray:
    """(H, W, C) bytes: a sheet of E[x|z] at the prior's quantiles."""
    images = generation.decode(model, plane.grid(GRID)) / white
    return pictures.sheet(images.numpy(), GRID, gap=0, ink=ink)


def _manifold(model: Model, plane: generation.Plane, path: Path, white: float, ink: bool) -> Path:
    pixels = manifold(model, plane, white, ink)
    levels = [(i + 0.5) / GRID for i in range(GRID)]
    note = "E[x|z] at the prior's quantiles" + (", all other directions at their mean" if plane.principal else "")
    return pictures.save(
        pictures.manifold(pixels, levels, "What the model makes of each point", note, axis_names(plane)), path
    )


def axis_names(plane: generation.Plane) -> tuple[str, str]:
    """What the two coordinates of a plane are called."""
    return ("first principal direction", "second principal direction") if plane.principal else ("z₁", "z₂")


def _images(model: Model, data: Dataset, records: Sequence[dict[str, Any]], folder: Path) -> Iterator[Path]:
    if not data.space.is_image:
        return
    yield reconstructions(model, data, folder / "reconstructions.png")
    yield samples(means(model, data), folder / "samples.png", ink=is_ink(data))


def means(model: Model, data: Dataset) -> Tensor:
    """(SHEET, C, H, W) E[x|z], white at 1, of z by the same noise each time."""
    context = data.test.context  # a conditional model makes one row of each class, where there are ten
    wanted = None if context is None else torch.eye(context.shape[1]).repeat_interleave(-(-SHEET // context.shape[1]), 0)
    x = model.sample(SHEET, None if wanted is None else wanted[:SHEET], seed=0, mean=True)
    return x.cpu() / data.space.white


def _columns(model: Model, data: Dataset, records: Sequence[dict[str, Any]], folder: Path) -> Iterator[Path]:
    if not data.columns:
        return
    test = data.test.sample(ROWS, 0)
    context = None if test.context is None else test.context[torch.arange(ROWS) % len(test)]
    x = model.sample(ROWS, context, seed=0).cpu()
    shown = [_column(field, test.values[:][:, place], x[:, place]) for place, field in enumerate(data.columns[:COLUMNS])]
    more = f", the first {COLUMNS} of {len(data.columns)} columns" if len(data.columns) > COLUMNS else ""
    note = f"{counted(len(test), 'test row')} filled, {ROWS:,} samples of the model as a line{more}"
    figure = pictures.marginals(shown, f"Columns of {short(data.name)} and of samples", note)
    yield pictures.save(figure, folder / "columns.png")


def _column(field: Field, data: Tensor, samples: Tensor) -> pictures.Column:
    one = column(field.kind)
    words = field.words or tuple(map(str, range(one.classes)))
    known = data[~data.isnan()].numpy()
    return pictures.Column(field.name, known, samples.numpy(), words)


def samples(images: Tensor, path: Path, columns: int | None = None, ink: bool = False) -> Path:
    """A sheet of images (N, C, H, W); about square unless `columns` says otherwise."""
    return pictures.save_sheet(images.cpu().numpy(), path, columns, ink=ink)


def maps(images: Tensor, nats: Tensor, path: Path, columns: int = 10, ink: bool = False) -> Path:
    """Rows of images (N, C, H, W), each with the row of its maps (N, C, H, W) below: red where it surprises."""
    shown, below = pictures.on_paper(images.cpu().numpy(), ink), pictures.maps(nats.cpu().numpy())
    return pictures.save_sheet(pictures.pairs(shown, below, columns), path, columns)


def _curves(model: Model, data: Dataset, records: Sequence[dict[str, Any]], folder: Path) -> Iterator[Path]:
    yield from _training(records, short(data.name), folder)


def _training(records: Sequence[dict[str, Any]], title: str, folder: Path) -> Iterator[Path]:
    if records:
        note = "training (solid) and, with averaged weights, validation (dashed)"
        yield pictures.save(pictures.curves(records, f"Training on {title}", note), folder / "curves.png")
