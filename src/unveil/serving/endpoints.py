"""What can be asked for: the fields of each kind of request, the rows that they mean, and what is answered."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from starlette.responses import Response
from torch import Tensor

from unveil.data.reading import Binarise
from unveil.randomness import generator, key
from unveil.serving.answers import PNG, cells, json_answer, picture
from unveil.serving.bodies import JSON
from unveil.serving.fields import SEEDS, Flag, Form, Label, Numbers, Schema, Value, Whole
from unveil.serving.rows import Rows
from unveil.serving.served import Served
from unveil.serving.together import Found, Piece
from unveil.words import counted

SAID = {
    "n": "how many; 1 unless it is given",
    "seed": "the same seed gives the same answer",
    "label": "the class that the model is told",
    "mean": "whether E[x|z] is given instead of x",
    "x": "a list of examples",
    "z": "a list of values of the latent variables",
}
"""What each field means."""
MAYBE: Schema = {"type": ["number", "null"]}
"""A number, or null for one that is not finite."""


@dataclass(frozen=True)
class Asked:
    """What a request comes down to.

    Attributes:
        kind: name of the work.
        pieces: its rows.
        answer: what is sent for what was found of all rows, as JSON or PNG.
    """

    kind: str
    pieces: Sequence[Piece]
    answer: Callable[[Found, str], Response]


@dataclass(frozen=True)
class Endpoint:
    """One kind of request.

    Attributes:
        name: its path is /name.
        summary: what it is for.
        form: its fields.
        image: the field that the body may be an image for; None where it may not.
        offered: media types of its answer, the usual one first.
        asked: the work that the values of its fields mean.
        result: JSON Schema of its answer.
    """

    name: str
    summary: str
    form: Form
    image: str | None
    offered: tuple[str, ...]
    asked: Callable[[Mapping[str, Any]], Asked]
    result: Schema


def endpoints(served: Served) -> list[Endpoint]:
    """Those that the model can answer."""
    every = (_sample, _encode, _decode, _reconstruct, _score)
    return [one for one in (make(served) for make in every) if one.name in served.kinds]


# fields


def _x(served: Served) -> Value:
    space, most = served.facts.space, served.most
    if served.facts.columns:
        return Rows(served.facts.columns, most, served.gaps)
    bounds: dict[str, Mapping[str, Any]] = {
        "binary": {"low": 0.0, "high": 1.0},
        "unit": {"low": 0.0, "high": 1.0},
        "levels": {"low": 0, "high": space.levels - 1, "whole": True},
        "count": {"low": 0, "high": 2**24, "whole": True},
    }
    return Numbers(space.shape, most, **bounds.get(space.measure, {}))


def _form(served: Served, required: str, **fields: Value) -> Form:
    """The fields given, and the label of a conditional model."""
    needed = {required} if required else set()
    if served.facts.classes:
        fields["label"] = Label(served.facts.classes, served.facts.class_names)
        needed |= {"label"} if required and served.facts.needs_label else set()
    return Form(fields, frozenset(needed), {name: SAID[name] for name in fields})


# schemas of answers


def _lists(shape: Sequence[int], leaf: Schema = MAYBE) -> Schema:
    for size in reversed(shape):
        leaf = {"type": "array", "items": leaf, "minItems": size, "maxItems": size}
    return {"type": "array", "items": leaf}


def _x_out(served: Served) -> Schema:
    return _lists(served.facts.space.shape, {"type": ["number", "string", "null"]} if served.facts.columns else MAYBE)


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


def _drawn(served: Served) -> tuple[str, ...]:
    return (JSON, PNG) if served.facts.space.is_image else (JSON,)


# what is asked


def _means(served: Served, found: Found, media: str) -> Response:
    """E[x|z] as JSON or PNG."""
    space = served.facts.space
    if media == PNG:
        return picture(found["x"], space)
    return json_answer({"x": cells(found["x"], served.facts.columns)})


def _sample(served: Served) -> Endpoint:
    facts = served.facts

    def asked(values: Mapping[str, Any]) -> Asked:
        count, seed, mean = values.get("n", 1), values.get("seed"), values.get("mean", False)
        seed = secrets.randbelow(SEEDS) if seed is None else seed
        context = served.context(values.get("label"), count)
        context = served.run.context(None, count) if context is None else context
        piece = Piece(count, seed, {"context": context})

        def answer(found: Found, media: str) -> Response:
            if media == PNG:
                drawn = picture(found["x"], facts.space)
                drawn.headers["Unveil-Seed"] = str(seed)
                return drawn
            labels: dict[str, Any] = {}
            if context is not None:
                places = context.argmax(1).tolist()
                labels["label"] = [facts.class_names[one] for one in places] if facts.class_names else places
            x = cells(found["x"], facts.columns)
            return json_answer({"x": x, "seed": seed, "mean": mean, **labels})

        return Asked("mean" if mean else "sample", [piece], answer)

    labels = {"label": {"type": "array", "items": {"type": ["integer", "string"]}}} if facts.classes else {}
    fields = {"n": Whole(1, served.most), "seed": Whole(0, SEEDS - 1), "mean": Flag()}
    result = _object(x=_x_out(served), seed={"type": "integer"}, mean={"type": "boolean"}, **labels)
    return Endpoint("sample", "x ~ p(x|z) with z ~ p(z)", _form(served, "", **fields), None, _drawn(served), asked, result)


def _with_x(served: Served, values: Mapping[str, Any]) -> list[Piece]:
    """The x of a request, and what the model is told of them; the encoder at rest sees gray."""
    x: Tensor = values["x"]
    return [Piece(len(x), 0, {"x": x, "context": served.context(values.get("label"), len(x))})]


def _image(served: Served) -> str | None:
    return "x" if served.facts.takes_images else None


def _encode(served: Served) -> Endpoint:
    def answer(found: Found, media: str) -> Response:
        return json_answer({name: found[name].tolist() for name in ("mean", "scale")})

    def asked(values: Mapping[str, Any]) -> Asked:
        return Asked("encode", _with_x(served, values), answer)

    result = _object(mean=_lists(served.latent or ()), scale=_lists(served.latent or ()))
    form = _form(served, "x", x=_x(served))
    return Endpoint("encode", "mean and scale of q(z|x)", form, _image(served), (JSON,), asked, result)


def _decode(served: Served) -> Endpoint:
    def asked(values: Mapping[str, Any]) -> Asked:
        z: Tensor = values["z"]
        piece = Piece(len(z), 0, {"z": z, "context": served.context(values.get("label"), len(z))})
        return Asked("decode", [piece], partial(_means, served))

    form = _form(served, "z", z=Numbers(served.latent or (), served.most))
    return Endpoint("decode", "E[x|z]", form, None, _drawn(served), asked, _object(x=_x_out(served)))


def _reconstruct(served: Served) -> Endpoint:
    def asked(values: Mapping[str, Any]) -> Asked:
        return Asked("reconstruct", _with_x(served, values), partial(_means, served))

    form, result = _form(served, "x", x=_x(served)), _object(x=_x_out(served))
    summary = "E[x|z] at the mean of q(z|x)"
    return Endpoint("reconstruct", summary, form, _image(served), _drawn(served), asked, result)


def _score(served: Served) -> Endpoint:
    def asked(values: Mapping[str, Any]) -> Asked:
        seed = values.get("seed", 0)
        x = _read(served, values["x"], seed)
        context, rows = served.context(values.get("label"), len(x)), served.kinds["score"].rows
        pieces = [
            Piece(len(part), seed if not place else key(seed, "piece", place), {"x": part, "context": told})
            for place, (part, told) in enumerate(zip(x.split(rows), _split(context, len(x), rows), strict=True))
        ]

        def answer(found: Found, media: str) -> Response:
            told = {"quantity": served.quantity_of(values.get("label")), "samples": served.samples, "seed": seed}
            return json_answer({**{name: found[name].tolist() for name in ("nats", "stderr")}, **told})

        return Asked("score", pieces, answer)

    told: dict[str, Schema] = {name: {"type": "integer"} for name in ("samples", "seed")}
    each: Schema = {"type": "array", "items": MAYBE}
    result = _object(nats=each, stderr=each, quantity={"type": "string"}, **told)
    form = _form(served, "x", x=_x(served), seed=Whole(0, SEEDS - 1))
    label, draws = (0 if served.facts.needs_label else None), counted(served.samples, "draw")
    summary = f"{served.quantity_of(label)} in nats, from {draws} of z; an estimate with its error by these"
    return Endpoint("score", summary, form, _image(served), (JSON,), asked, result)


def _read(served: Served, x: Tensor, seed: int) -> Tensor:
    """x as its nats are of: gray pixels of a binary image are binarised, each example by a key of its own."""
    if served.facts.space.measure != "binary" or bool((x == x.round()).all()):
        return x
    reading = Binarise(1)
    return torch.stack([reading(one, generator(seed, "reading", "serve", row)) for row, one in enumerate(x)])


def _split(context: Tensor | None, count: int, rows: int) -> Sequence[Tensor | None]:
    return [None] * -(-count // rows) if context is None else context.split(rows)
