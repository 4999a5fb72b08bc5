"""A function of a model as one fixed graph of operations: recorded, traced with its noise as an input, written as ONNX."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram

from unveil.errors import ExportError, UnveilError
from unveil.export.equals import Equals
from unveil.export.functions import Function
from unveil.export.onnx_graph import folded, merged, plain
from unveil.export.tape import KINDS, Kind, Player, Recorder, Take, Tape, plan
from unveil.models import Model
from unveil.models.vae import CHUNK

SIZES = (3, 5)
"""Rows that a function is recorded for, and traced with the first of."""


@dataclass(frozen=True)
class Traced:
    """A function of a model, traced.

    Attributes:
        program: torch's own form of it.
        inputs: their names.
        outputs: their names.
        noise: columns of each kind of noise.
    """

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    noise: Mapping[Kind, int]


class Pure(nn.Module):
    """A function of a model whose noise is an input.

    Args:
        model: whose it is.
        function: which.
        takes: what it draws.
    """

    def __init__(self, model: Model, function: Function, takes: tuple[Take, ...]) -> None:
        super().__init__()
        self.model, self.function, self.takes = model, function, takes
        self.columns = {kind: sum(take.columns for take in takes if take.kind == kind) for kind in KINDS}
        self.kinds = [kind for kind in KINDS if self.columns[kind]]
        self.inputs = (*function.inputs, *self.kinds)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs, tensors, strict=True))
        rows = [given[name].shape[0] for name in self.inputs if name not in self.function.once]
        noise = {kind: given.pop(kind) for kind in self.kinds}
        return self.function.call(self.model, (rows or [1])[-1], lambda: Tape(Player(self.takes, noise)), **given)


def inputs(function: Function, n: int) -> dict[str, Tensor]:
    """Something of the right shapes to call it with: zeros, and the first class."""
    given = {name: torch.zeros(1 if name in function.once else n, *shape) for name, shape in function.inputs.items()}
    if "context" in given:
        given["context"][:, 0] = 1
    return given


def recorded(model: Model, function: Function) -> tuple[Take, ...]:
    """What it draws for each row."""

    def drawn(n: int) -> Recorder:
        recorders: list[Recorder] = []

        def tape() -> Tape:
            recorders.append(Recorder())
            return Tape(recorders[-1])

        function.call(model, n, tape, **inputs(function, n))
        return recorders[0]  # what is drawn from the beginning again is the same

    first, second = SIZES
    return plan(drawn(first), drawn(second), SIZES)


def pure(model: Model, function: Function) -> Pure:
    """The function with its noise as an input.

    Raises:
        ExportError: it draws what is on no tape.
    """
    with torch.no_grad(), torch.random.fork_rng([]):
        return Pure(model, function, recorded(model, function)).eval()


def traced(module: Pure) -> Traced:
    """Its graph, for any number of rows.

    Raises:
        ExportError: its steps are not always the same.
    """
    given = inputs(module.function, SIZES[0])
    given |= {kind: torch.rand(SIZES[0], module.columns[kind]) for kind in module.kinds}
    # a model makes that many at a time by itself; of fewer, its graph is one piece, which holds for any number
    rows = Dim("n", max=CHUNK)
    moving = tuple(None if name in module.function.once else {0: rows} for name in module.inputs)
    with quiet(), torch.no_grad(), refusing(), unchecked(), Equals():
        program = torch.export.export(module, tuple(given[name] for name in module.inputs), dynamic_shapes=(moving,))
    for node in program.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ExportError(f"it draws by {node.target}, which is on no tape")
    return Traced(program, module.inputs, module.function.outputs, module.columns)


def onnx_of(traced: Traced) -> Any:
    """The graph as an ONNX model, in float32.

    Raises:
        ExportError: ONNX has no such operation.
    """
    with quiet(), refusing():
        made = torch.onnx.export(
            traced.program,
            dynamo=True,
            verbose=False,
            input_names=list(traced.inputs),
            output_names=list(traced.outputs),
        )
    assert made is not None
    return folded(merged(plain(made.model_proto)))


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever the exporter raises is an `ExportError` of one line."""
    try:
        yield
    except UnveilError:
        raise
    except Exception as error:
        raise ExportError(reason(error)) from None


REASONS = {
    "onstraints violated": "its code reads the number of rows as a number; take x.shape[0] for len(x)",
    "specialized it to be a constant": "its code reads the number of rows as a number; take x.shape[0] for len(x)",
    "data-dependent": "which steps it takes depends on values",
}
"""What an exporter's words mean."""


def reason(error: BaseException) -> str:
    """In one line what an exporter's error says."""
    causes = [error]
    while (below := causes[-1].__cause__ or causes[-1].__context__) is not None and below not in causes:
        causes.append(below)
    for cause in causes:
        if isinstance(cause, UnveilError):
            return str(cause)
    said = "\n".join(map(str, causes))
    for words, meaning in REASONS.items():
        if words in said:
            return meaning
    if missing := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", said):
        return f"ONNX has no operation for {missing[1]}"
    first = next((line.strip() for line in str(causes[-1]).splitlines() if line.strip()), type(causes[-1]).__name__)
    return f"its steps are no fixed graph: {first}"


@contextmanager
def unchecked() -> Iterator[None]:
    """Within, torch's distributions do not look at their parameters' values, which a trace has not."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Within, the exporter says nothing of its own."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir", "torchvision")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
