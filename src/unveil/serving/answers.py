"""From tensors to what is sent: JSON, or a PNG of images, as the request would rather have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
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


def written(content: Any) -> bytes:
    """JSON in ASCII, which no reader takes for anything else; null for numbers that are none."""
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_nulls(content), allow_nan=False, separators=(",", ":"))
    return text.encode()


def _nulls(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _nulls(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_nulls(value) for value in content]
    return content if not isinstance(content, float) or isfinite(content) else None


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
    pixels = sheet(images)
    return Response(png(pixels, pixels.shape[1]), media_type=PNG)


def cells(x: Tensor, columns: Sequence[Field]) -> list[Any]:
    """x (n, *event) as nested lists; of a table rows with its words."""
    if columns:
        return [list(row) for row in zip(*by_name(x, columns).values(), strict=True)]
    listed: list[Any] = x.tolist()
    return listed
