"""ONNX graphs as JSON and arrays, for the interpreter that needs NumPy alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from unveil.errors import ExportError
from unveil.export.operations import OPERATIONS


def content(proto: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What graphs.json says of a graph, and its weights, each under a name made from what it is.

    Raises:
        ExportError: an operation that the interpreter does not have.
    """
    from onnx import numpy_helper

    arrays = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    names = {name: _name(array) for name, array in arrays.items()}
    return _said(proto.graph, names), {names[name]: array for name, array in arrays.items()}


def _said(graph: Any, names: dict[str, str]) -> dict[str, Any]:
    """A graph, or the step of a loop in it, with its weights by their `names`."""
    return {
        "inputs": [one.name for one in graph.input],
        "outputs": [names.get(one.name, one.name) for one in graph.output],
        "nodes": [_node(node, names) for node in graph.node],
    }


def _node(node: Any, names: dict[str, str]) -> dict[str, Any]:
    if node.op_type not in {*OPERATIONS, "Scan"} or node.domain:
        raise ExportError(f"NumPy's interpreter has no operation {node.op_type}; take --to onnx")
    return {
        "op": node.op_type,
        "in": [names.get(name, name) for name in node.input],
        "out": list(node.output),
        "attributes": {one.name: _plain(one, names) for one in node.attribute},
    }


def _name(array: np.ndarray) -> str:
    return "w" + hashlib.sha256(f"{array.dtype} {array.shape};".encode() + array.tobytes()).hexdigest()[:16]


def _plain(attribute: Any, names: dict[str, str]) -> Any:
    """An attribute as JSON has it; of a tensor of one number, the number and its type."""
    from onnx import GraphProto, TensorProto, helper, numpy_helper

    value = helper.get_attribute_value(attribute)
    if isinstance(value, GraphProto):
        return _said(value, names)
    if isinstance(value, TensorProto):
        return [numpy_helper.to_array(value).reshape(-1)[0].item(), value.data_type]
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "_values") else value
