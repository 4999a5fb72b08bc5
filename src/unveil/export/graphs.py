"""The functions of a trained model as ONNX graphs: encoder, decoder, prior, weights and samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from torch import nn

from unveil.errors import ExportError, SettingError
from unveil.export.functions import functions
from unveil.export.onnx_graph import halved
from unveil.export.trace import Pure, Traced, onnx_of, pure, traced
from unveil.models import Model
from unveil.part import resting

if TYPE_CHECKING:
    from unveil.run import Run


@dataclass(frozen=True)
class Graph:
    """One function of a model.

    Attributes:
        onnx: a ModelProto in float32; of each input and output the first dimension is 'n', any number of rows.
        inputs: their names.
        outputs: their names.
        normals: standard normals that it takes for each row, as input 'normal' (n, normals); there is none where it is 0.
        uniforms: uniforms in [0, 1) that it takes for each row, as input 'uniform' (n, uniforms), likewise.
    """

    onnx: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    normals: int
    uniforms: int


@dataclass(frozen=True)
class Graphs:
    """Every function of a model that a graph computes.

    A conditional model takes the one-hot class as 'context' (n, C), but a semi-supervised one finds that of x itself. An
    encoder without noise, as of chosen codes, gives `weigh` one draw, whose n is 1; its weight bounds p(x) from below.

    Attributes:
        encode: x (n, *event) to the mean and the scale of q(z|x), (n, *latent).
        decode: z (n, *latent) to the mean (n, *event), E[x|z].
        prior: noise to z (n, *latent).
        weigh: x (1, *event) and noise to n draws z ~ q(z|x) and log_w (n,), log p(x, z) - log q(z|x) of each.
        sample: noise to x (n, *event) ~ p(x|z) and the mean (n, *event) of the same z.
        without: of each function that is None, why, in one line.
    """

    encode: Graph | None
    decode: Graph | None
    prior: Graph | None
    weigh: Graph | None
    sample: Graph | None
    without: Mapping[str, str]


def graphs(run: Run, half: bool = False) -> Graphs:
    """The functions of a run's model.

    Args:
        run: trained, or at least initialised.
        half: keep weights in half precision, which halves the bytes; what is computed stays float32.

    Raises:
        SettingError: onnx or onnxscript is not installed.
    """
    require("onnx", "onnxscript")
    found: dict[str, Graph | None] = dict.fromkeys(("encode", "decode", "prior", "weigh", "sample"))
    without: dict[str, str] = {}
    with pures(run) as (modules, refused):
        without |= refused
        for name, module in modules.items():
            try:
                found[name] = graph(traced(module), half)
            except ExportError as error:
                without[name] = str(error)
    return Graphs(**found, without=without)


def graph(one: Traced, half: bool = False) -> Graph:
    """A traced function as ONNX."""
    made = onnx_of(one)
    onnx = (halved(made) if half else made).SerializeToString()
    return Graph(onnx, one.inputs, one.outputs, one.noise["normal"], one.noise["uniform"])


@contextmanager
def pures(run: Run) -> Iterator[tuple[dict[str, Pure], dict[str, str]]]:
    """Within, each function of a run's model with its noise as an input, and why others have none."""
    facts = run.manifest["data"]
    model: Model = deepcopy(run.model).cpu().requires_grad_(False)
    _unshare(model, set())
    made: dict[str, Pure] = {}
    without: dict[str, str] = {}
    with resting(model):
        for name, function in functions(model, tuple(facts["shape"]), facts.get("classes", 0), facts.get("known")).items():
            try:
                made[name] = pure(model, function)
            except ExportError as error:
                without[name] = str(error)
        yield made, without


def _unshare(module: nn.Module, seen: set[nn.Module]) -> None:
    """Give each place of a model a module of its own, with the same weights: by their places a trace calls them."""
    for name, child in module.named_children():
        if child in seen:
            child = copy(child)
            child._modules = dict(child._modules)
            setattr(module, name, child)
        seen.add(child)
        _unshare(child, seen)


def require(*packages: str) -> None:
    """See that what an export needs is installed.

    Raises:
        SettingError: it is not; the message says what to install.
    """
    for name in packages:
        try:
            import_module(name)
        except ImportError:
            raise SettingError(f"export needs {name}, which is not installed; pip install 'unveil[export]'") from None
