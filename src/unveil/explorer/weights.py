"""Graphs for a page: the weights of all of them kept once, as graphs of one model mostly share them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from unveil.export.graphs import Graph

SMALL = 256
"""Bytes of a tensor that stays in its graph."""


def apart(graphs: Mapping[str, Graph]) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, list[str]]]:
    """Each graph without its larger tensors, the bytes of those by the names that graphs give them, and who has which."""
    import onnx

    slim: dict[str, bytes] = {}
    tensors: dict[str, bytes] = {}
    called_by: dict[str, list[str]] = {}
    for name, graph in graphs.items():
        model = onnx.load_from_string(graph.onnx)
        called_by[name] = []
        for tensor in model.graph.initializer:
            raw = onnx.numpy_helper.to_array(tensor).tobytes()
            if len(raw) < SMALL:
                continue
            called = hashlib.sha256(raw).hexdigest()[:16]
            tensors[called] = raw
            called_by[name].append(called)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=called)
            tensor.external_data.add(key="length", value=str(len(raw)))
        slim[name] = model.SerializeToString()
    return slim, tensors, called_by


def packed(parts: Mapping[str, bytes]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """All parts one after the other, and the start and the length of each."""
    places, start = {}, 0
    for name, part in parts.items():
        places[name] = (start, len(part))
        start += len(part)
    return b"".join(parts.values()), places
