"""What the fields of a request admit. Each field reads its value, and describes itself as a JSON schema: one place a fact.

Numbers are those of JSON; 2.0 is whole, as JSON Schema has it. A field that may also stand in the query of the address,
beside an image in the body, reads text too.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.serving.refusal import Refusal, shown

SINGLE = float(np.finfo(np.float32).max)
"""The largest number that single precision holds."""
SEEDS = 2**53
"""Seeds are below this: whole numbers that every reader of JSON keeps."""

NUMBER = re.compile(r"0|-?[1-9]\d{0,14}", re.ASCII)
"""Names of classes that are whole numbers, as JSON writes them."""

Schema = dict[str, Any]


def wrong(name: str, given: object, why: str) -> Refusal:
    """A field that cannot be."""
    return Refusal(422, f"{name} cannot be {shown(given)}; {why}")


class Value(ABC):
    """What a field admits."""

    @abstractmethod
    def read(self, given: Any, name: str) -> Any:
        """The value of what JSON held, or Refusal 422."""

    @abstractmethod
    def schema(self) -> Schema:
        """JSON Schema 2020-12 of exactly what `read` takes."""

    def read_text(self, given: str, name: str) -> Any:
        """The value of what stood in the query."""
        raise wrong(name, given, "give it in a JSON body")


@dataclass(frozen=True)
class Whole(Value):
    """A whole number."""

    least: int
    most: int

    def read(self, given: Any, name: str) -> int:
        whole = type(given) is int or (type(given) is float and given.is_integer())
        if not whole or not self.least <= given <= self.most:
            raise wrong(name, given, f"give a whole number from {self.least} to {self.most}")
        return int(given)

    def read_text(self, given: str, name: str) -> int:
        return self.read(int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else given, name)

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Flag(Value):
    """true or false."""

    def read(self, given: Any, name: str) -> bool:
        if type(given) is not bool:
            raise wrong(name, given, "give true or false")
        return given

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Numbers(Value):
    """1 to `most` examples, each nested lists of numbers in a shape.

    Attributes:
        shape: of one example.
        most: examples.
        low: smallest number.
        high: largest one.
        whole: whether they are whole.
    """

    shape: tuple[int, ...]
    most: int
    low: float = -SINGLE
    high: float = SINGLE
    whole: bool = False

    def read(self, given: Any, name: str) -> Tensor:
        flat: list[float] = []
        sized(given, name, 1, self.most)
        for example in given:
            self._gather(example, name, self.shape, flat)
        values = np.array(flat, dtype=np.float64)
        fits = (values >= self.low) & (values <= self.high)
        if self.whole:
            fits &= values == np.round(values)
        if not fits.all():
            raise wrong(name, float(values[~fits][0]), f"give {self._words()}")
        return torch.from_numpy(values.astype(np.float32)).reshape(len(given), *self.shape)

    def _words(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        return f"{kind} from {self.low:.16g} to {self.high:.16g}"

    def _gather(self, given: Any, name: str, shape: tuple[int, ...], flat: list[float]) -> None:
        """Append the numbers of nested lists."""
        if not shape:
            given = [given]  # an example that is one number
        else:
            sized(given, name, shape[0], shape[0])
        if len(shape) > 1:
            for part in given:
                self._gather(part, name, shape[1:], flat)
            return
        if not set(map(type, given)) <= {int, float}:
            odd = next(one for one in given if type(one) not in (int, float))
            raise wrong(name, odd, f"give examples of shape {list(self.shape)}, {self._words()}")
        flat.extend(given)

    def schema(self) -> Schema:
        inner: Schema = {"type": "integer" if self.whole else "number", "minimum": self.low, "maximum": self.high}
        for size in reversed(self.shape):
            inner = {"type": "array", "items": inner, "minItems": size, "maxItems": size}
        return {"type": "array", "items": inner, "minItems": 1, "maxItems": self.most}


def sized(given: Any, name: str, least: int, most: int) -> None:
    """See that this is a list of so many."""
    if type(given) is not list:
        raise wrong(name, given, f"give a list of {least if least == most else f'{least} to {most}'}")
    if not least <= len(given) <= most:
        raise wrong(name, given, f"give {least if least == most else f'{least} to {most:,}'} there")


def listed(names: Sequence[str]) -> str:
    """The first few of several names."""
    return ", ".join(map(shown, names[:8])) + (", ..." if len(names) > 8 else "")


@dataclass(frozen=True)
class Label(Value):
    """What a conditional model is told: a class, by its number or its name.

    Text is a name where there is one, and a number else; a number is one where there are so many classes, and a name else.

    Attributes:
        classes: how many there are.
        names: of them; empty where they have none.
    """

    classes: int
    names: Sequence[str]

    def read(self, given: Any, name: str) -> int:
        if type(given) is str and given in self.texts:
            return self.texts[given]
        if (type(given) is int or (type(given) is float and given.is_integer())) and int(given) in self.numbers:
            return self.numbers[int(given)]
        named = f", or a name: {listed(self.names)}" if self.names else ""
        raise wrong(name, given, f"give a whole number from 0 to {self.classes - 1}{named}")

    def read_text(self, given: str, name: str) -> int:
        return self.read(given, name)

    @property
    def texts(self) -> dict[str, int]:
        """The class that each text means."""
        return {str(one): one for one in range(self.classes)} | {name: place for place, name in enumerate(self.names)}

    @property
    def numbers(self) -> dict[int, int]:
        """The class that each number means."""
        named = {int(name): place for place, name in enumerate(self.names) if NUMBER.fullmatch(name)}
        return named | {one: one for one in range(self.classes)}

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "integer", "enum": list(self.numbers)}, {"type": "string", "enum": list(self.texts)}]}


@dataclass(frozen=True)
class Form:
    """The fields of one kind of request.

    Attributes:
        fields: by name.
        required: names of those without which nothing can be done.
        said: what each means, in a line.
    """

    fields: Mapping[str, Value]
    required: frozenset[str]
    said: Mapping[str, str]

    def read(self, body: Any) -> dict[str, Any]:
        """The values of what a body says."""
        if type(body) is not dict:
            raise Refusal(422, f"the body cannot be {shown(body)}; give an object with {self._names()}")
        return {name: self._known(name).read(given, name) for name, given in body.items()}

    def read_query(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The values of what a query says."""
        return {name: self._known(name).read_text(given, name) for name, given in query.items()}

    def _known(self, name: str) -> Value:
        if name not in self.fields:
            raise Refusal(422, f"there is no field {shown(name)} here; known: {self._names()}")
        return self.fields[name]

    def complete(self, values: Mapping[str, Any]) -> None:
        """See that nothing is missing."""
        for name in sorted(self.required - set(values)):
            raise Refusal(422, f"{name} is missing, which is {self.said[name]}; known: {self._names()}")

    def _names(self) -> str:
        return ", ".join(self.fields)

    def schema(self) -> Schema:
        """JSON Schema of the body."""
        properties = {name: {**one.schema(), "description": self.said[name]} for name, one in self.fields.items()}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": sorted(self.required)} if self.required else schema
