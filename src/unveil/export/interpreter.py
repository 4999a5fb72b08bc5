"""What computes a bundle's graphs with NumPy alone. It stands in the bundle beside loader.py, and needs nothing of Unveil.

A graph is {"inputs", "outputs", "nodes"}; a node is {"op", "in", "out", "attributes"} with ONNX's names and meanings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

if __package__:
    from unveil.export.operations import OPERATIONS
else:
    from operations import OPERATIONS  # type: ignore[import-not-found,no-redef]

Array = Any


class Graph:
    """One function: names to arrays, in and out.

    Args:
        content: what graphs.json says of it.
        weights: arrays by name.
    """

    def __init__(self, content: dict[str, Any], weights: Any) -> None:
        self.content, self.inputs, self.outputs = content, content["inputs"], content["outputs"]
        self.weights = {name: weights[name] for name in _read(content) if name in weights}

    def run(self, given: dict[str, Array]) -> list[Array]:
        """The outputs in their order."""
        with np.errstate(all="ignore"):
            return _computed(self.content, {**self.weights, **given, "": None})


def _read(content: dict[str, Any]) -> Iterator[str]:
    """The names that a graph reads, and that the steps of its loops do."""
    yield from content["outputs"]
    for node in content["nodes"]:
        yield from node["in"]
        if node["op"] == "Scan":
            yield from _read(node["attributes"]["body"])


def _computed(content: dict[str, Any], known: dict[str, Array]) -> list[Array]:
    """The outputs of a graph, from all that is known by name."""
    for node in content["nodes"]:
        given = [known[name] for name in node["in"]]
        if node["op"] == "Scan":
            made = _scan(known, given, **node["attributes"])
        else:
            made = OPERATIONS[node["op"]](*given, **node["attributes"])
        known.update(zip(node["out"], made if isinstance(made, list) else [made], strict=False))
    return [known[name] for name in content["outputs"]]


def _scan(
    known: dict[str, Array], given: list[Array], body: dict[str, Any], num_scan_inputs: int, **rest: Any
) -> list[Array]:
    """A step that goes on from what it left, once for each row; it reads what is known around it as well."""
    states, rows = given[:-num_scan_inputs], given[-num_scan_inputs:]
    kept = []
    for row in zip(*rows, strict=True):
        made = _computed(body, {**known, **dict(zip(body["inputs"], [*states, *row], strict=True))})
        states = made[: len(states)]
        kept.append(made[len(states) :])
    return [*states, *map(np.stack, zip(*kept, strict=True))]
