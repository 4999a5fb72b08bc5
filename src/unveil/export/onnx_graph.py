"""What is done to an ONNX graph once it is made: constants computed, names of the machine removed, weights halved."""

from __future__ import annotations

from typing import Any

import numpy as np

from unveil.export.arrays import content
from unveil.export.interpreter import OPERATIONS, Graph

GROW = ("Expand", "Tile", "ConstantOfShape", "Range")
"""Operations whose results are larger than what they are made of: they stay."""
LARGE = 256
"""Numbers from which on a weight is worth halving."""
HALF = 6e4
"""Largest number that is kept in half precision."""


def plain(proto: Any) -> Any:
    """The same model without what the exporter says of where it ran; the open dimension is called 'n'."""
    del proto.metadata_props[:], proto.graph.metadata_props[:], proto.graph.value_info[:]
    proto.producer_name, proto.doc_string, proto.graph.name = "unveil", "", "unveil"
    for part in (*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for part in (*proto.graph.input, *proto.graph.output):
        for size in part.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "n"
    return proto


def folded(proto: Any) -> Any:
    """The same model with all that hangs on weights alone computed: of pseudo-inputs, say, their posteriors remain."""
    from onnx import numpy_helper

    graph = proto.graph
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    left = []
    for node in graph.node:
        fixed = all(not name or name in known for name in node.input)
        if fixed and node.op_type in OPERATIONS and node.op_type not in GROW:
            known.update(zip(node.output, _computed(node, known), strict=True))
        else:
            left.append(node)
    used = {name for node in left for name in node.input} | {one.name for one in graph.output}
    kept = [numpy_helper.from_array(np.array(known[name], order="C"), name) for name in sorted(used & set(known))]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(left)
    graph.initializer.extend(kept)
    return proto


def _computed(node: Any, known: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx import helper

    alone = helper.make_graph([node], "one", [], [helper.make_empty_tensor_value_info(name) for name in node.output])
    said, _ = content(helper.make_model(alone))
    return Graph(said, known).run({})


def halved(proto: Any) -> Any:
    """The same model with its larger weights in half precision, each cast back before it is used."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for one in proto.graph.initializer:
        array = numpy_helper.to_array(one)
        if array.dtype == np.float32 and array.size >= LARGE and np.abs(array).max() < HALF:
            name = one.name
            one.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [one.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto
