"""What is done to an ONNX graph once it is made: constants computed, names of the machine removed, weights halved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from unveil.export.arrays import content
from unveil.export.interpreter import Graph
from unveil.export.operations import OPERATIONS

GROW = ("Expand", "Tile", "ConstantOfShape", "Range")
"""Operations whose results are larger than what they are made of: they stay."""
LARGE = 256
"""Numbers from which on a weight is worth halving."""
HALF = 6e4
"""Largest number that is kept in half precision."""


def plain(proto: Any) -> Any:
    """The same model without what the exporter says of where it ran; the open dimension is called 'n'."""
    del proto.metadata_props[:]
    proto.producer_name, proto.doc_string = "unveil", ""
    for graph in _graphs(proto.graph):
        del graph.metadata_props[:], graph.value_info[:]
        graph.name, graph.doc_string = "unveil", ""
        for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
            del part.metadata_props[:]
            part.doc_string = ""
    for part in (*proto.graph.input, *proto.graph.output):
        for size in part.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = "n"
    return proto


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and the steps of the loops in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


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
    del graph.node[:], graph.initializer[:]
    graph.node.extend(left)
    used = {name for part in _graphs(graph) for node in part.node for name in node.input}
    used |= {one.name for part in _graphs(graph) for one in part.output}
    kept = [numpy_helper.from_array(np.array(known[name], order="C"), name) for name in sorted(used & set(known))]
    graph.initializer.extend(kept)
    return proto


def merged(proto: Any) -> Any:
    """The same model with what is computed twice computed once, loops among it: `sample` gives x and the mean of one z."""
    graph = proto.graph
    given_back = {one.name for one in graph.output}
    same: dict[str, str] = {}
    seen: dict[bytes, Any] = {}
    left = []
    for node in graph.node:
        for part in (node, *_inside(node)):
            part.input[:] = [same.get(name, name) for name in part.input]
        first = seen.setdefault(_meaning(node), node)
        if first is node or given_back & set(node.output):
            left.append(node)
        else:
            same.update(zip(node.output, first.output, strict=True))
    del graph.node[:]
    graph.node.extend(left)
    return proto


def _inside(node: Any) -> Iterator[Any]:
    """The nodes of a loop's step, and of those within it."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for graph in _graphs(attribute.g):
                yield from graph.node


def _meaning(node: Any) -> bytes:
    """What a node computes, whatever its results are called."""
    bare = type(node)()
    bare.CopyFrom(node)
    bare.name = ""
    steps = [attribute.g for attribute in bare.attribute if attribute.HasField("g")]
    inner = [one for step in steps for one in step.node]
    made = [
        *bare.output,
        *(one.name for step in steps for one in step.input),
        *(name for one in inner for name in one.output),
    ]
    places = {name: str(place) for place, name in enumerate(made) if name}
    for part in (bare, *inner):
        part.name = ""
        part.output[:] = [places[name] if name else name for name in part.output]
        part.input[:] = [name if part is bare else places.get(name, name) for name in part.input]
    for step in steps:
        del step.input[:]
        for one in step.output:
            one.CopyFrom(type(one)(name=places.get(one.name, one.name)))
    return bytes(bare.SerializeToString(deterministic=True))


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
