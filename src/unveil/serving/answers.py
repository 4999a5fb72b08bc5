"""From tensors to what is sent: JSON, or a PNG of images, as the request would rather have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from starlette.responses import Response
from torch import Tensor

from unveil.data import Field, Space
from unveil.data.tables import by_name
from unveil.pictures.sheets import png, sheet
from unveil.serving.bodies import JSON
from unveil.serving.refusal import Refusal, shown

PNG = "image/png"
TEXT = "text/plain"
COUNTED = ("binary", "levels", "count")
"""Measures of x that are whole numbers, unless they are means."""


def written(content: Any) -> bytes:
    """JSON in ASCII, which no reader takes for anything else."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(written(content), status, headers, media_type=JSON)


def refused(refusal: Refusal) -> Response:
    """The answer to what is not served."""
    return json_answer({"error": refusal.reason}, refusal.status, refusal.headers)


def chosen(accept: str, offered: Sequence[str]) -> str:
    """Which of the media types is wanted most; the first of those that are wanted alike.

    Raises:
        Refusal: 406, none of them.
    """
    wishes = list(filter(None, map(_wish, accept.split(",")))) if accept.strip() else [("*/*", 1.0)]

    def wanted(media: str) -> float:
        family = media.partition("/")[0] + "/*"
        # the most specific wish counts: "image/png;q=0" refuses what "*/*" would take
        for like in (media, family, "*/*"):
            if found := [weight for name, weight in wishes if name == like]:
                return max(found)
        return 0.0

    best = max(offered, key=wanted)
    if wanted(best) <= 0:
        raise Refusal(406, f"the answer cannot be {shown(accept)}; accept {' or '.join(offered)}")
    return best


def _wish(part: str) -> tuple[str, float] | None:
    """A media range of an Accept header and its weight; None for what is none."""
    name, *parameters = (one.strip().lower() for one in part.split(";"))
    weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        return (name, min(max(float(weight), 0.0), 1.0)) if "/" in name else None
    except ValueError:
        return None


def picture(x: Tensor, space: Space) -> Response:
    """Images (n, C, H, W) as a PNG, a pixel for each pixel: one as it is, several on a sheet, with white between them."""
    images = np.nan_to_num(x.numpy() / space.white, nan=0.0, posinf=1.0, neginf=0.0)
    # a sheet draws gray as ink on paper; here a pixel is sent as bright as it is read
    shown = 1 - images if images.shape[1] == 1 else images
    pixels = sheet(shown)
    return Response(png(pixels, pixels.shape[1]), media_type=PNG)


def cells(x: Tensor, space: Space, columns: Sequence[Field], mean: bool) -> list[Any]:
    """x (n, *event) as nested lists: rows of a table with their words, whole numbers where x is counted."""
    if columns:
        by_column = [[_known(one) for one in column] for column in by_name(x, columns).values()]
        return [list(row) for row in zip(*by_column, strict=True)]
    whole = space.measure in COUNTED and not mean and bool(x.isfinite().all())
    return numbers(x.long() if whole else x)


def numbers(values: Tensor) -> list[Any]:
    """Nested lists of numbers; null for what is none."""
    listed: list[Any] = values.tolist()
    return _nulls(listed) if values.is_floating_point() and not bool(values.isfinite().all()) else listed


def _nulls(listed: list[Any]) -> list[Any]:
    return [_nulls(one) if isinstance(one, list) else _known(one) for one in listed]


def _known(cell: Any) -> Any:
    return cell if not isinstance(cell, float) or np.isfinite(cell) else None
