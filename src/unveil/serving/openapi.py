"""The description of what is served, OpenAPI 3.1, from the very fields that requests are read by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unveil.serving.answers import PNG, TEXT
from unveil.serving.bodies import IMAGES, JSON
from unveil.serving.endpoints import SAID, Endpoint
from unveil.serving.fields import Schema
from unveil.serving.limits import Limits
from unveil.serving.served import Served
from unveil.version import __version__
from unveil.words import counted

ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
ALWAYS = {
    "400": "no one Host",
    "403": "an Origin that may not ask",
    "421": "a Host that is not this server",
    "503": "too many ask; Retry-After says when to ask again",
}
"""What any request may be answered, and why."""
ASKED = {
    "400": "no one Host, no JSON, or no image",
    "406": "no media type that is offered",
    "408": "a body that arrives too slowly",
    "413": "too long a body",
    "415": "another media type, or a compressed body",
    "422": "fields that cannot be",
}
"""What beside it any POST may be answered."""
TOKEN = {"401": "the token is missing or another"}


def openapi(served: Served, offered: Sequence[Endpoint], limits: Limits, token: bool) -> dict[str, Any]:
    """The description of a server.

    Args:
        served: what it serves.
        offered: what it can be asked for.
        limits: of requests.
        token: whether it wants one.
    """
    facts = served.facts
    paths: dict[str, Any] = {
        "/": {"get": _get("what is served", {"type": "object"}, token, TEXT)},
        "/health": {"get": _get("whether it works", {"type": "object"}, token)},
        "/openapi.json": {"get": _get("this description", {"type": "object"}, token)},
    }
    paths |= {f"/{one.name}": {"post": _post(one, token)} for one in offered}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Unveil: {facts.recipe}, trained on {facts.data}",
            "version": __version__,
            "description": f"x: {facts.space}. At most {limits.body:,} bytes a body, and "
            f"{counted(served.most, 'example')}.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if token else {}),
        },
        **({"security": [{"token": []}]} if token else {}),
    }


def _errors(token: bool, **more: str) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    said = ALWAYS | more | (TOKEN if token else {})
    return {status: {"description": why, "content": content} for status, why in sorted(said.items())}


def _get(summary: str, schema: Schema, token: bool, *others: str) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": schema}}
    content |= {media: {"schema": {"type": "string"}} for media in others}
    good = {"200": {"description": summary, "content": content}}
    return {"summary": summary, "responses": {**good, **_errors(token, **({"406": ASKED["406"]} if others else {}))}}


def _post(one: Endpoint, token: bool) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": one.result}}
    if PNG in one.offered:
        content[PNG] = {"schema": {"contentMediaType": PNG}}
    bodies: dict[str, Any] = {JSON: {"schema": one.form.schema()}}
    if one.image:
        bodies |= {media: {"schema": {"contentMediaType": media}} for media in IMAGES}
    return {
        "summary": one.summary,
        "parameters": _beside(one),
        "requestBody": {"required": True, "content": bodies},
        "responses": {"200": {"description": one.summary, "content": content}, **_errors(token, **ASKED)},
    }


def _beside(one: Endpoint) -> list[dict[str, Any]]:
    """The fields that may stand in the query, where an image is the body."""
    if not one.image:
        return []
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": field.schema(),
            "description": f"{SAID[name]}; beside an image in the body",
        }
        for name, field in one.form.fields.items()
        if name != one.image
    ]
