"""A run as plain data: what is copied, sent to other processes or written by whoever asks for it is made of these.

There are arrays, numbers and words, and no module: what the model is made of says the manifest's spec, as in a run folder.
The rows that it was trained on are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unveil.opening import KNOWN
from unveil.run import Run
from unveil.store import build, fill
from unveil.training.average import state_of


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays, which may be written to by nobody, as tensors with memory of their own."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def packed(run: Run) -> dict[str, Any]:
    """A run without its data. Classes of the user's own are named with it, by reference."""
    both = nn.ModuleDict({"model": run.model, "objective": run.objective})
    named = {part["type"] for part in run.manifest["spec"]["parts"]} - set(KNOWN)
    own = {type(module) for module in both.modules() if type(module).__name__ in named}
    return {"manifest": run.manifest, "tensors": arrays(state_of(both)), "parts": tuple(own)}


def unpacked(plain: Mapping[str, Any]) -> Run:
    """The run that was packed."""
    manifest = plain["manifest"]
    known = {**KNOWN, **{part.__name__: part for part in plain["parts"]}}
    both: Any = nn.ModuleDict(build(manifest["spec"], known))
    fill(both, tensors(plain["tensors"]), "the estimator")
    both.eval()
    return Run(both["model"], both["objective"], manifest)
