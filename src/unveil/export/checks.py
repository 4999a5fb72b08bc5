"""Numbers that a bundle is held to: what each function is given, and what the model itself makes of it."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from unveil.export.tape import KINDS
from unveil.export.trace import Pure
from unveil.randomness import generator

ROWS = 4


def examples(modules: dict[str, Pure], rows: int = ROWS, seed: int = 0) -> dict[str, Tensor]:
    """Inputs and outputs of every function, by the names NAME.INPUT and NAME.OUTPUT.

    No x of the data is among them: the encoder is given what the model draws. `prior` and `decode` are there.
    """
    found: dict[str, Tensor] = {}
    known: dict[str, Tensor] = {}
    # each gives what the next ones need; x is the mean where nothing is drawn
    for name in ("prior", "decode", "sample", "encode", "weigh"):
        if name not in modules:
            continue
        module = modules[name]
        given = _given(module, known, rows, seed)
        with torch.no_grad():
            made = dict(zip(module.function.outputs, module(*given.values()), strict=True))
        found |= {f"{name}.{one}": tensor for one, tensor in {**given, **made}.items()}
        if name in ("prior", "sample", "decode"):
            known |= {"z": made["z"]} if name == "prior" else {"x": next(iter(made.values()))}
    return found


def _given(module: Pure, known: dict[str, Tensor], rows: int, seed: int) -> dict[str, Tensor]:
    source = generator(seed, "export", rows)
    given: dict[str, Tensor] = {}
    for name in module.inputs:
        n = 1 if name in module.function.once else rows
        if name in KINDS:
            draw = torch.randn if name == "normal" else torch.rand
            given[name] = draw(rows, module.columns[name], generator=source)
        elif name == "context":
            (classes,) = module.function.inputs[name]
            given[name] = torch.eye(classes)[torch.arange(n) % classes]
        else:
            given[name] = known[name][:n] if name in known else torch.zeros(n, *module.function.inputs[name])
    return given


def packed(tensors: dict[str, Tensor]) -> bytes:
    """As an .npz file."""
    content = io.BytesIO()
    np.savez(content, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]
    return content.getvalue()
