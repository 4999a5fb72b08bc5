"""The forms that graphs are written in: for onnxruntime, for torch, and for NumPy alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unveil.errors import ExportError
from unveil.export.arrays import content
from unveil.export.trace import Traced, onnx_of, quiet

Files = dict[str, bytes]


@dataclass(frozen=True)
class Form:
    """A form of a bundle's graphs.

    Attributes:
        write: from a traced function to its graph; ExportError where there is none.
        gather: from all graphs by name to files.
        packages: needed to write and to check them.
        beside: modules of this package that its loader needs beside itself.
    """

    write: Callable[[Traced], Any]
    gather: Callable[[dict[str, Any]], Files]
    packages: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def written(self, made: dict[str, Traced], without: dict[str, str]) -> Files:
        """The files of all functions; what has no graph goes from `made` to `without`, with the reason."""
        graphs = {}
        for name in list(made):
            try:
                graphs[name] = self.write(made[name])
            except ExportError as error:
                without[name] = str(error)
                del made[name]
        return self.gather(graphs)


def _program(one: Traced) -> bytes:
    packed = io.BytesIO()
    with quiet():
        torch.export.save(one.program, packed)
    return packed.getvalue()


def _shared(graphs: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]]) -> Files:
    """All graphs in one file, and the weights, of which they have many in common, in another."""
    packed = io.BytesIO()
    weights: dict[str, np.ndarray] = {}
    for _, own in graphs.values():
        weights |= own
    np.savez(packed, **weights)  # type: ignore[arg-type]
    said = {name: one for name, (one, _) in graphs.items()}
    return {"graphs.json": json.dumps(said).encode(), "weights.npz": packed.getvalue()}


FORMS = {
    "onnx": Form(
        lambda one: onnx_of(one).SerializeToString(),
        lambda graphs: {f"{name}.onnx": graph for name, graph in graphs.items()},
        ("onnx", "onnxscript", "onnxruntime"),
    ),
    "torch": Form(_program, lambda graphs: {f"{name}.pt2": graph for name, graph in graphs.items()}),
    "numpy": Form(
        lambda one: content(onnx_of(one)),
        _shared,
        ("onnx", "onnxscript"),
        ("interpreter.py", "operations.py", "spatial.py"),
    ),
}
"""By what `--to` calls them."""
