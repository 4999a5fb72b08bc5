"""What a manifest says of data, so that the same, or others in the same way, can be read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PureWindowsPath
from typing import Any

from unveil.data.dataset import Dataset
from unveil.data.held import HELD
from unveil.data.ink import is_ink


def short(place: str) -> str:
    """The name of a file or folder without those that it lies in; of bytes that are no UTF-8, their numbers."""
    name = place.replace("\\", "/").rstrip("/").rpartition("/")[2] or place
    return name.encode("utf-8", "backslashreplace").decode()


def homeless(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of data as it goes to others or comes from them: files and folders by their last names alone."""
    options = facts.get("options")
    options = dict(options) if isinstance(options, Mapping) else {}
    options |= {name: short(options[name]) for name in HELD if isinstance(options.get(name), str)}
    return {**facts, "name": short(str(facts.get("name", ""))), "options": options}


def places(facts: Mapping[str, Any]) -> list[str]:
    """Where data lie that a manifest tells of, in every form that a text may have it in, the longest first."""
    said = [facts.get("name"), *(facts.get("options", {}).get(name) for name in HELD)]
    known = [form for one in said if isinstance(one, str) for form in (one, str(Path(one).absolute()))]
    return sorted((one for one in known if short(one) != one), key=len, reverse=True)


def travelling(said: Any, known: Iterable[str]) -> Any:
    """Plain data with nothing but the last name of whatever is a place: a known one within a text, or a whole path."""
    if isinstance(said, Mapping):
        return {name: travelling(value, known) for name, value in said.items()}
    if isinstance(said, list):
        return [travelling(value, known) for value in said]
    if not isinstance(said, str):
        return said
    for place in known:
        said = said.replace(place, short(place))
    return short(said) if Path(said).is_absolute() or PureWindowsPath(said).is_absolute() else said


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
