"""A recipe on some data as Python: the parts that it is made of, to be pasted, changed and run."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import fields
from itertools import count
from typing import Any

import torch
from torch import Tensor

from unveil.data import Dataset
from unveil.data.load import takes
from unveil.networks import Centred
from unveil.opening import KNOWN, PACKAGES
from unveil.parts.net import StartsAnywhere
from unveil.recipes import Recipe
from unveil.store import describe
from unveil.training.config import Training

WIDTH = 100
"""Columns of a line."""
LONG = 60
"""Characters from which on a part is given a name of its own."""
STARTS = {
    "Tabular": "{}.fit(data.train.values[:].float())",
    "Columns": "{}.fit(data.train.values[:].float())",
    "Isotropic": "{}.fit(data.train.spread())",
    "Vamp": "{}.start(data.train)",
}
"""What a part is told of the data before training, where it is to know something of them."""


def explained(recipe: Recipe, data: Dataset) -> str:
    """Python that trains what `unveil train` would: imports, data, model, objective, and the call."""
    with torch.random.fork_rng([]):
        model, objective = recipe.compose(recipe.prepare(data))
    centres = {part.shape: part.mean for part in model.modules() if isinstance(part, Centred)}
    written = _Written(describe(model=model, objective=objective), data.space.shape, centres)
    built = [f"{name} = {written.root(name)}" for name in ("model", "objective")]
    homes = {"unveil.training": {"Training"}} | written.homes
    known = getattr(recipe.model, "known", None)
    labels = f".given_labels({'' if known is None else known})" if recipe.labels else ""
    lines = [
        f'"""The recipe {recipe.name!r} on {data.name!r}, part by part."""',
        "",
        "import unveil",
        *(f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(homes.items())),
        "",
        f"data = {_call('unveil.load', _loading(data), {'source'})}{labels}",
        *written.lines,
        *built,
        *written.starts,
        f"training = {_call('Training', _other(recipe.training))}",
        "run = unveil.train(data, model=model, objective=objective, training=training)",
    ]
    return "\n".join(lines)


class _Written:
    """A spec in Python, from its roots down.

    Args:
        spec: what `describe` gave.
        shape: of x.
        centres: of what is centred, by shape.

    Attributes:
        lines: that give parts a name, each after those that it is made of.
        starts: that tell parts what they are to know of the data.
        homes: what is imported, by module.
    """

    def __init__(self, spec: Mapping[str, Any], shape: tuple[int, ...], centres: Mapping[tuple[int, ...], Tensor]) -> None:
        self.shape, self.centres = shape, centres
        self.parts, self.roots = spec["parts"], spec["roots"]
        self.lines: list[str] = []
        self.starts: list[str] = []
        self.homes: dict[str, set[str]] = {}
        self.named: dict[int, str] = {}
        self.uses = Counter(
            place for part in self.parts for value in part["arguments"].values() for place in _places(value)
        )

    def root(self, name: str) -> str:
        """The expression of a root."""
        return self._expression(self.roots[name], name)

    def _part(self, place: int, role: str) -> str:
        """How a part is written where it is used: by a name of its own, or as what it is."""
        if place in self.named:
            return self.named[place]
        text, start = self._expression(place, role), self._start(place, role)
        if start is None and self.uses[place] < 2 and len(text) < LONG:
            return text
        name = next(one for one in _names(role) if one not in self.named.values())
        self.named[place] = name
        self.lines.append(f"{name} = {text}")
        if start is not None:
            self.starts.append(start.format(name))
        return name

    def _start(self, place: int, role: str) -> str | None:
        """What tells a part what it is to know of the data, with {} for its name."""
        kind, arguments = self.parts[place]["type"], self.parts[place]["arguments"]
        if kind == "Centred":
            shape = tuple(arguments["shape"])
            if shape == self.shape:
                return "{}.centre_at(data.train.mean())"
            return f"{{}}.mean.fill_({self.centres[shape].flatten()[0].item():.6g})"  # of a z whose mean is one number
        if (role, kind) == ("likelihood", "Net"):
            inner, path = arguments["network"]["part"], "{0}.network"
            while "network" in self.parts[inner]["arguments"]:
                inner, path = self.parts[inner]["arguments"]["network"]["part"], f"{path}.network"
            if not issubclass(KNOWN[self.parts[inner]["type"]], StartsAnywhere):
                return None
            direct = path == "{0}.network"
            return "{}.start(data.train.mean())" if direct else f"{path}.start_at({{0}}.head.start(data.train.mean()))"
        return STARTS.get(kind)

    def _expression(self, place: int, role: str) -> str:
        """A call of the part's class, or terms as a sum and products."""
        kind, arguments = self.parts[place]["type"], self.parts[place]["arguments"]
        if kind == "Sum":
            return " + ".join(self._part(one["part"], "term") for one in arguments["terms"])
        if kind == "Scaled":
            inner = arguments["term"]["part"]
            text = self._part(inner, "term")
            return f"{arguments['weight']!r} * {f'({text})' if self.parts[inner]['type'] == 'Sum' else text}"
        home = next(package.__name__ for package in PACKAGES if kind in package.__all__)
        self.homes.setdefault(home, set()).add(kind)
        usual = inspect.signature(KNOWN[kind]).parameters
        other = {name: value for name, value in arguments.items() if not _same(value, usual[name].default)}
        roles = {"network": {"posterior": "encoder", "likelihood": "decoder"}.get(role, "network")}
        written = {name: self._value(value, roles.get(name, name)) for name, value in other.items()}
        bare = {name for name in written if usual[name].default is inspect.Parameter.empty}
        return _call(kind, written, bare)

    def _value(self, value: Any, role: str) -> str:
        if isinstance(value, dict):
            return self._part(value["part"], role)
        if isinstance(value, list):
            items = [self._value(one, role.removesuffix("s")) for one in value]
            if any(isinstance(one, dict) for one in value):
                return f"[{', '.join(items)}]"
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        return repr(value)


def _places(value: Any) -> list[int]:
    """The parts that an argument names."""
    if isinstance(value, dict):
        return [value["part"]]
    return [place for one in value for place in _places(one)] if isinstance(value, list) else []


def _names(role: str) -> Iterator[str]:
    """A name for a part in this place, and what comes where it is taken."""
    yield role
    yield from (f"{role}_{number}" for number in count(2))


def _same(value: Any, usual: Any) -> bool:
    return value == (list(usual) if isinstance(usual, tuple) else usual)


def _call(name: str, arguments: Mapping[str, str], bare: Container[str] = ()) -> str:
    """A call with its arguments in lines of their own where they do not fit into one."""
    said = [text if key in bare else f"{key}={text}" for key, text in arguments.items()]
    line = f"{name}({', '.join(said)})"
    if len(line) < WIDTH - 20:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in said), ")"])


def _loading(data: Dataset) -> dict[str, str]:
    """What `unveil.load` is given, so that it gives these data; `source` for those that it cannot give again."""
    if not data.loadable:
        return {"source": "..."}
    said = {"source": repr(data.name)}
    if data.space.measure != "columns":
        said["measure"] = repr(data.space.measure)
    options = dict(data.options)
    if "size" in takes(data.name) and data.space.is_image:
        options |= {"channels": data.space.shape[0], "size": data.space.shape[1:]}
    return said | {name: repr(value) for name, value in options.items() if name in takes(data.name)}


def _other(training: Training) -> dict[str, str]:
    """The settings that are other than usual."""
    usual = Training()
    names = [one.name for one in fields(training) if getattr(training, one.name) != getattr(usual, one.name)]
    return {name: repr(getattr(training, name)) for name in names}
