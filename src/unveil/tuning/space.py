"""What a sweep tries: for each setting a range or some values, as a person writes them and as plain data.

`Range` and `Choices` write themselves as they are read: '4..64:log' and '1,2,4'. Usual ranges stand here and nowhere else;
which of them apply follows from the recipe, and from whether a setting changes anything of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from math import isfinite, prod
from typing import Any, TypeAlias

import torch

from unveil.data import Dataset
from unveil.errors import SettingError, option, unknown
from unveil.recipes import Networks, Recipe
from unveil.store import describe
from unveil.training.config import Training

Value: TypeAlias = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """All numbers between two.

    Attributes:
        low: the least, and `high` the largest of them; both can be tried.
        log: whether 1 to 10 is as much as 10 to 100.
        whole: whether they are whole.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.low!r}..{self.high!r}{':log' * self.log}"

    @property
    def ends(self) -> tuple[Value, ...]:
        """What is tried beforehand, to see whether a model can be made with it."""
        return self.low, self.high

    def nearest(self, value: Value) -> Value:
        """The value in it that is next to one that may lie outside."""
        assert isinstance(value, int | float)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """Some values, without order; a single one is the same for all trials."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return ",".join(map(written, self.values))

    @property
    def ends(self) -> tuple[Value, ...]:
        """What is tried beforehand, to see whether a model can be made with it."""
        return self.values

    def nearest(self, value: Value) -> Value:
        """The value itself where it is one of them, else the first."""
        return value if value in self.values else self.values[0]


Axis: TypeAlias = Range | Choices
Space: TypeAlias = Mapping[str, Axis]

WIDTH, DEPTH = "hidden_width", "hidden_depth"
"""Of the setting `hidden`: how wide each hidden layer is, and how many there are."""
USUAL: Space = {
    "learning_rate": Range(5e-4, 1e-2, log=True),
    "batch_size": Range(50, 400, log=True, whole=True),
    "latent": Range(4, 64, log=True, whole=True),
    WIDTH: Range(100, 600, log=True, whole=True),
    DEPTH: Range(1, 3, whole=True),
    "kl_warmup": Range(0.0, 10.0),
}
"""What is tried of settings that most recipes have."""
OWN: Mapping[str, Space] = {
    "ciwae": {"beta": Range(0.05, 0.95)},
    "info-vae": {"alpha": Range(0.1, 0.9)},
    "renyi-vae": {"alpha": Range(0.1, 0.9)},
}
"""Of a recipe's own settings that are shares, or orders with a number that they cannot be."""
FACTOR = 4.0
"""A recipe's other floats are tried from a fourth of their default to four times it, where both make a model."""
KEPT: Mapping[str, tuple[str, ...]] = {"mnist-2d": ("latent",)}
"""What makes a recipe what it is, and is not tried unless it is asked for."""
WARMING = 0.5
"""Share of the epochs that a warm-up may take: what is still rising at the end was never trained on."""
TRAINED = ("learning_rate", "batch_size", "schedule", "warmup", "clip", "average", "precision")
"""Settings of training that can be tried; all others are the same in all trials, or their figures could not be compared."""


def written(value: Value) -> str:
    """A value as it is typed: 0.001, true, 300x300."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def current(recipe: Recipe, name: str) -> Any:
    """What a recipe has for a setting, be it its own or of its training."""
    if name == WIDTH:
        return recipe.model.hidden[0]
    if name == DEPTH:
        return len(recipe.model.hidden)
    return getattr(recipe.model if name in _own(recipe) else recipe.training, name)


def known(recipe: Recipe) -> tuple[str, ...]:
    """The settings of a recipe that can be tried."""
    layers = (WIDTH, DEPTH) if recipe.model.hidden else ()
    return (*_trained(recipe), *layers, *_own(recipe))


def applied(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with these values of settings.

    Raises:
        SettingError: a value that a setting cannot have.
    """
    given = dict(values)
    model = {name: given.pop(name) for name in _own(recipe) if name in given}
    if WIDTH in given or DEPTH in given:
        width, depth = (given.pop(name, current(recipe, name)) for name in (WIDTH, DEPTH))
        model["hidden"] = (width,) * depth
    training: dict[str, Any] = given
    return replace(recipe.given(**model), training=replace(recipe.training, **training))


def start(recipe: Recipe, space: Space) -> dict[str, Value]:
    """The recipe as it is, or what is next to it in the space."""
    return {name: axis.nearest(current(recipe, name)) for name, axis in space.items()}


def usual(recipe: Recipe, data: Dataset) -> dict[str, Axis]:
    """What is tried where nobody has said: usual ranges of those settings that change something of this recipe."""
    kept = KEPT.get(recipe.name, ())
    every = {name: axis for name in known(recipe) if name not in kept and (axis := _usual(recipe, name)) is not None}
    if recipe.model.network != "mlp":
        every = {name: axis for name, axis in every.items() if name not in (WIDTH, DEPTH)}
    plain, trained = _spec(recipe, data), _trained(recipe)

    def matters(name: str, axis: Axis) -> bool:
        specs = [_spec(applied(recipe, {name: value}), data) for value in axis.ends]
        return None not in specs and any(spec != plain for spec in specs)

    return {name: axis for name, axis in every.items() if name in trained or matters(name, axis)}


def grid(space: Space, most: int) -> list[dict[str, Value]]:
    """All combinations of values; empty where there are more than `most`, or a range has no end of them."""
    found: list[Sequence[Value]] = []
    for axis in space.values():
        if isinstance(axis, Choices):
            found.append(axis.values)
        elif axis.whole:
            found.append(range(int(axis.low), int(axis.high) + 1))
    if len(found) < len(space) or prod(map(len, found)) > most:
        return []
    return [dict(zip(space, values, strict=True)) for values in product(*found)]


def _usual(recipe: Recipe, name: str) -> Axis | None:
    """The usual range of a setting, a recipe's own floats included; None where it has none."""
    if (own := OWN.get(recipe.name, {}).get(name)) is not None:
        return own
    axis = USUAL.get(name)
    if name == "kl_warmup" and isinstance(axis, Range):
        return replace(axis, high=min(axis.high, WARMING * recipe.training.epochs))
    if axis is not None or name not in _own(recipe) or name in {one.name for one in fields(Networks)}:
        return axis
    value = current(recipe, name)
    if not isinstance(value, float) or not value > 0:
        return None
    return Range(value / FACTOR, value * FACTOR, log=True)


def _spec(recipe: Recipe, data: Dataset) -> Any:
    """The parts of the recipe's model and objective with their arguments; None where it cannot be made."""
    try:
        with torch.random.fork_rng([]):
            model, objective = recipe.compose(recipe.prepare(data))
        return describe(model=model, objective=objective)
    except SettingError:
        return None


def read(texts: Sequence[str], recipe: Recipe) -> dict[str, Axis]:
    """What a person wants tried: NAME=LOW..HIGH, NAME=LOW..HIGH:log, NAME=a,b,c, or NAME for its usual range.

    Raises:
        SettingError: a setting that there is none of, or a range or value that it cannot have.
    """
    found: dict[str, Axis] = {}
    for text in texts:
        given, sign, said = (part.strip() for part in text.partition("="))
        name = given.removeprefix("model.").replace("-", "_")
        _require_setting(name, recipe)
        if name in found:
            raise SettingError(f"{name} is given twice, as {found[name]} and in {text!r}; give it once")
        axis = _axis(name, said, text, recipe) if sign else _usual(recipe, name)
        if axis is None:
            raise SettingError(f"{name} has no usual range; write one, as {name}=LOW..HIGH, or values, as {name}=a,b")
        for value in axis.ends:
            try:
                applied(recipe, {name: value})
            except SettingError as error:
                raise SettingError(f"{text!r} cannot be tried: {error}") from None
        found[name] = axis
    if "hidden" in found and (WIDTH in found or DEPTH in found):
        raise SettingError(f"hidden says what {WIDTH} and {DEPTH} say; give it, or those")
    return found


def _require_setting(name: str, recipe: Recipe) -> None:
    if name in known(recipe):
        return
    if name in {one.name for one in fields(Training)}:
        way = f"give it by {option(name)}" if name in ("epochs", "seed", "device") else "leave it out"
        raise SettingError(f"{name} is the same in all trials, or their figures could not be compared; {way}")
    raise unknown(f"setting of {recipe.name}", name, known(recipe))


def _axis(name: str, said: str, text: str, recipe: Recipe) -> Axis:
    like = current(recipe, name)
    if ".." not in said:
        values = tuple(_value(part.strip(), like, text) for part in said.split(","))
        if len(set(values)) < len(values):
            raise SettingError(f"{text!r} has a value twice; give each once")
        return Choices(values)
    ends, _, scale = said.partition(":")
    if scale not in ("", "log"):
        raise SettingError(f"{text!r} has the scale {scale!r}; write LOW..HIGH, or LOW..HIGH:log")
    if isinstance(like, bool) or not isinstance(like, int | float):
        raise SettingError(
            f"{name} is no number, so that {text!r} is no range of it; list values, as {name}={written(like)}"
        )
    low, high = (_value(part.strip(), like, text) for part in ends.split("..", 1))
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low > high:
        raise SettingError(f"{text!r} begins above its end; write {name}={high}..{low}{':log' * bool(scale)}")
    if scale and low <= 0:
        raise SettingError(
            f"{text!r} cannot be on a log scale, which never reaches {low}; begin above 0, or leave :log out"
        )
    return Choices((low,)) if low == high else Range(low, high, bool(scale), isinstance(like, int))


def _value(said: str, like: Any, text: str) -> Value:
    """What was typed as a value of the kind that a setting has, `like` one of them."""
    kinds = {bool: "true or false", int: "a whole number", float: "a number", tuple: "widths as 300x300"}
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[said.lower()]
        if isinstance(like, tuple):
            return tuple(int(part) for part in said.split("x"))
        value: Value = type(like)(said)
    except (KeyError, ValueError):
        raise SettingError(f"{text!r} cannot be read: {said!r} is not {kinds[type(like)]}") from None
    if isinstance(value, float) and not isfinite(value):
        raise SettingError(f"{text!r} cannot be tried: {said} is no number that a setting can have")
    if value == "":
        raise SettingError(f"{text!r} has an empty value; write NAME=a,b,c")
    return value


def _own(recipe: Recipe) -> tuple[str, ...]:
    """Settings of the recipe itself."""
    return tuple(one.name for one in fields(recipe.model))


def _trained(recipe: Recipe) -> tuple[str, ...]:
    """Settings of training, but for those that the recipe has one of its own for."""
    return tuple(name for name in TRAINED if name not in _own(recipe))
