"""Every recipe, and every prior and likelihood: what the exported graphs give is what the model gives, to 1e-5."""

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.exports import OTHERS, Exports, near, numbers_of, people, run_of, small

from unveil.export.arrays import content
from unveil.export.interpreter import Graph
from unveil.recipes import RECIPES

NO_DENSITY = "q(z|x) has no density, so its draws have no weights"
GAMMA = "it draws by rejection from a Gamma law, which no fixed number of uniforms or normals replaces"
POISSON = "it draws by rejection from a Poisson law, which no fixed number of uniforms or normals replaces"
GRADIENT = "it follows a gradient while it draws"
WITHOUT = {
    **{name: {"weigh": NO_DENSITY} for name in ("ae", "rae-l2", "rae-gp", "wae-mmd", "aae")},
    **{name: {"weigh": GRADIENT} for name in ("hvae", "rhvae")},
    "svae": {"weigh": GAMMA},
    "student": {"sample": GAMMA},
    "poisson": {"sample": POISSON},
    "negative binomial": {"sample": GAMMA},
}
"""All that has no graph, and why; everything else has all five."""


@pytest.fixture(scope="session")
def exports():
    return Exports()


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    return small(), people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def cached():
    """onnxscript reads the source of all its operators at each export; here, once."""
    from functools import cache

    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.mark.parametrize("name", [*RECIPES, *OTHERS])
def test_graphs_agree_with_the_model(name, exports, room, cached):
    images, table = room
    graphs, numbers, without = exports.of(run_of(name, table if name == "table" else images))
    assert without == WITHOUT.get(name, {})
    for function, proto in graphs.items():
        onnx.checker.check_model(proto)
        assert [node.op_type for node in proto.graph.node].count("Scan") <= 1  # of x and its mean, z is written once
        wanted = numbers_of(function, numbers)
        given = {one.name: wanted[one.name] for one in proto.graph.input}
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        said, weights = content(proto)
        for found in (session.run(None, given), Graph(said, weights).run(given)):
            for one, array in zip(proto.graph.output, found, strict=True):
                assert near(array, wanted[one.name]), (function, one.name, np.abs(array - wanted[one.name]).max())
