"""Graphs for a page: the weights of all of them kept once, as graphs of one model mostly share them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unveil.export.graphs import Graph

SMALL = 256
"""Bytes of a tensor that stays in its graph."""


@dataclass(frozen=True)
class Apart:
    """Graphs and what they share.

    Attributes:
        slim: each graph without its larger tensors.
        tensors: the sifted bytes of those, by the names that graphs give them.
        widths: how many bytes a number of each tensor has.
        called_by: which tensors each graph has.
    """

    slim: dict[str, bytes]
    tensors: dict[str, bytes]
    widths: dict[str, int]
    called_by: dict[str, list[str]]


def sifted(raw: bytes, width: int) -> bytes:
    """The first bytes of all numbers of `width` bytes, then the second ones, and so on: exponents lie beside exponents, by
    which weights in half precision compress to a fifteenth less.
    """
    return np.frombuffer(raw, np.uint8).reshape(-1, width).T.tobytes()


def apart(graphs: Mapping[str, Graph]) -> Apart:
    """The graphs with each of their larger tensors kept once."""
    import onnx

    slim: dict[str, bytes] = {}
    tensors: dict[str, bytes] = {}
    widths: dict[str, int] = {}
    called_by: dict[str, list[str]] = {}
    for name, graph in graphs.items():
        model = onnx.load_from_string(graph.onnx)
        called_by[name] = []
        for tensor in model.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            raw = array.tobytes()
            if len(raw) < SMALL:
                continue
            called = hashlib.sha256(raw).hexdigest()[:16]
            tensors[called] = sifted(raw, array.itemsize)
            widths[called] = array.itemsize
            called_by[name].append(called)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=called)
            tensor.external_data.add(key="length", value=str(len(raw)))
        slim[name] = model.SerializeToString()
    return Apart(slim, tensors, widths, called_by)


def packed(parts: Mapping[str, bytes]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """All parts one after the other, and the start and the length of each."""
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = (start, len(part))
        start += len(part)
    return b"".join(parts.values()), places
