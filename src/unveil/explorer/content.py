"""What a page knows of a run: where its data lie in the latent space, some of them as pictures, and how it was made.

Everything is plain data; arrays travel as base64 of little-endian bytes. `page/js/app.js` reads what is written here.
"""

from __future__ import annotations

import base64
import io
from math import ceil, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.album import axis_names
from unveil.data import Dataset, Space, Split
from unveil.distributions import DiagonalGaussian, ways_of
from unveil.evaluation import in_evaluation
from unveil.explorer.landscape import landscape
from unveil.generation import Plane, encode, pick, plane
from unveil.models import Model
from unveil.pages import facts
from unveil.parts import Standard
from unveil.run import Run
from unveil.store.files import plain

POINTS = 2_000
"""Examples of the test split that the page has as points."""
DRAWS = 20_000
"""Of the prior, by which the plane is laid."""
PICTURES = 400
"""Of them, the first ones, as pictures."""
COLLAPSED = 0.01
"""Nats: what a dimension that carries less is called; as the report does."""


def content(run: Run, data: Dataset | None) -> dict[str, Any]:
    """All of it.

    Args:
        run: what is shown.
        data: what it was trained on, of which the test split is shown; None for a page without data.
    """
    said = run.manifest["data"]
    space = Space(tuple(said["shape"]), said["measure"], said.get("levels", 256))
    shown = None if data is None else _shown(data)
    found = facts(run)
    return plain({
        "facts": found.as_dict(),
        "image": _image(space, data),
        "classes": {"count": said.get("classes", 0), "names": list(said.get("class_names", []))},
        "latent": _latent(run, shown),
        "evidence": _evidence(run),
        "attribution": found.data.attribution,
    })  # fmt: skip


def _evidence(run: Run) -> dict[str, str]:
    """What the mean weight of an x estimates, and what is to be said of it."""
    if not run.model.normalised:
        note = "This likelihood is not normalised: compare its weights with those that this model gives other images alone."
        return {"name": "log of the mean weight", "note": note}
    # a model that is told a class of some examples only sums over the classes
    return {"name": "log p(x|y)" if run.told else "log p(x)", "note": ""}


def _image(space: Space, data: Dataset | None) -> dict[str, Any] | None:
    """How x are shown; None where they are no images."""
    if not space.is_image:
        return None
    return {"shape": list(space.shape), "white": space.white, "measure": space.measure, "ink": space.measure == "binary"}


def _shown(data: Dataset) -> Split:
    """Rows of the test split: a few of each class first, which are also shown as pictures, then others."""
    first = pick(data.test, min(PICTURES, len(data.test)))
    rest = np.setdiff1d(data.test.rows.numpy(), first.rows.numpy())
    places = {int(row): place for place, row in enumerate(data.test.rows.tolist())}
    order = [places[row] for row in [*first.rows.tolist(), *np.random.default_rng(0).permutation(rest).tolist()]]
    return data.test.subset(torch.tensor(order[:POINTS]))


def _latent(run: Run, shown: Split | None) -> dict[str, Any]:
    model, classes = run.model, run.manifest["data"].get("classes", 0)
    context = torch.eye(classes)[0] if classes else None
    with torch.no_grad():
        given = None if context is None else context.expand(POINTS, -1)
        prior = model.prior(None, given)
    if shown is None:  # the prior's own draws say where to look
        with torch.no_grad():
            z = prior.sample(torch.Size([] if prior.batch_shape else [POINTS])).flatten(1).float().cpu()
        mean, scale, labels = z, torch.zeros_like(z), None
    else:
        encoded = encode(model, shown)
        mean, scale, labels = encoded.mean.flatten(1).float(), encoded.scale.flatten(1).float(), encoded.label
    # codes are drawn one after the other, and of them all that is asked is how far they reach
    seen = plane(model, mean, context, DRAWS if ways_of(prior) else POINTS)
    return {
        "shape": list(prior.event_shape),
        "size": mean.shape[1],
        "flat": len(prior.event_shape) == 1 and seen.surface is None,
        "radius": None if seen.surface is None else seen.surface.radius,
        "moves": len(prior.event_shape) == 1 and (seen.surface is None or seen.surface.radius > 0),
        "ways": [{"name": way.name, **vars(way)} for way in seen.ways],
        "plane": _plane(seen),
        "landscape": _landscape(run, seen, mean, context),
        "dimensions": _dimensions(run, shown, mean, scale) if shown is not None else [],
        "points": None if shown is None else _points(mean, scale, labels),
        "pictures": None if shown is None else _atlas(run, shown),
        "center": mean.mean(0).tolist(),
    }


def _plane(seen: Plane) -> dict[str, Any]:
    return {
        "origin": seen.origin.tolist(),
        "axes": seen.axes.tolist(),
        "principal": seen.principal,
        "explained": list(seen.explained),
        "names": list(axis_names(seen)[: seen.axes.shape[1]]),
    }


def _landscape(run: Run, seen: Plane, mean: Tensor, context: Tensor | None) -> dict[str, Any]:
    ground = landscape(run.model, seen, mean, context)
    if ground.density is None:
        return {"box": list(ground.box), "density": None}
    levels = np.round(65_535 * ground.density / max(ground.density.max(), 1e-300))
    return {"box": list(ground.box), "side": len(levels), "density": _base64(levels.astype("<u2"))}


def _gaussian(model: Model, one: Split) -> bool:
    """Whether q(z|x) is Gaussian, its dimensions independent: what a flow makes of one is not, and has a scale too."""
    batch = next(one.batches(1, 0))
    with in_evaluation(model):
        return isinstance(model.encode(batch.x, batch.context), DiagonalGaussian)


def _dimensions(run: Run, shown: Split, mean: Tensor, scale: Tensor) -> list[dict[str, Any]]:
    """Each dimension of z by falling KL, where posterior and prior are Gaussians of independent dimensions.

    KL(N(m, s) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s, the mean over the points of the page.
    """
    measured = {one.index: one.rate for one in facts(run).dimensions if one.rate is not None}
    standard = isinstance(run.model.prior, Standard) and _gaussian(run.model, shown.subset(torch.arange(1)))
    if not measured and standard:
        kl = (0.5 * (mean.square() + scale.square() - 1) - scale.clamp(min=1e-12).log()).mean(0)
        measured = dict(enumerate(kl.tolist()))
    width = mean.std(0, correction=0).tolist()
    found = [
        {"index": index, "kl": measured.get(index), "spread": width[index],
         "collapsed": measured[index] < COLLAPSED if index in measured else width[index] < 1e-3}
        for index in range(mean.shape[1])
    ]  # fmt: skip
    return sorted(found, key=lambda one: -(one["kl"] if one["kl"] is not None else one["spread"]))


def _points(mean: Tensor, scale: Tensor, labels: Tensor | None) -> dict[str, Any]:
    return {
        "count": len(mean),
        "mean": _base64(mean.numpy().astype("<f4")),
        "scale": _base64(scale.numpy().astype("<f4")),
        "labels": None if labels is None else labels.tolist(),
    }


def _atlas(run: Run, shown: Split) -> dict[str, Any] | None:
    """The first points as one PNG, in tiles from left to right and from the top, as they are stored."""
    from PIL import Image

    said = run.manifest["data"]
    space = Space(tuple(said["shape"]), said["measure"], said.get("levels", 256))
    if not space.is_image:
        return None
    first = shown.subset(torch.arange(min(PICTURES, len(shown))))
    x = (first.reading.mean(first.values[:]) / space.white).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    count, channels, height, width = x.shape
    columns = ceil(sqrt(count))
    sheet = np.zeros((ceil(count / columns) * height, columns * width, channels), np.uint8)
    for place, one in enumerate(x):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = one.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(buffer, "PNG", optimize=True)
    return {"count": count, "columns": columns, "png": base64.b64encode(buffer.getvalue()).decode()}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
