"""What a manifest says of data, so that the same, or others in the same way, can be read again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unveil.data.dataset import Dataset
from unveil.data.ink import is_ink


def short(place: str) -> str:
    """The name of a file or folder without those that it lies in; of bytes that are no UTF-8, their numbers."""
    name = place.replace("\\", "/").rstrip("/").rpartition("/")[2] or place
    return name.encode("utf-8", "backslashreplace").decode()


def facts_of(data: Dataset) -> dict[str, Any]:
    """Name, space, options, columns, classes, fingerprint and how they are drawn, as plain data."""
    return {
        "name": data.name,
        "loadable": data.loadable,
        "measure": data.space.measure,
        "shape": list(data.space.shape),
        "levels": data.space.levels,
        "ink": is_ink(data),
        "options": dict(data.options),
        "columns": [asdict(field) for field in data.columns],
        "class_names": list(data.classes),
        "fingerprint": data.fingerprint,
        "rows": {split: len(data.split(split)) for split in data.splits},
        "attribution": data.attribution,
        "classes": 0 if data.train.context is None else data.train.context.shape[1],
        "known": None if data.train.labelled is None else int(data.train.labelled.sum()),
    }
