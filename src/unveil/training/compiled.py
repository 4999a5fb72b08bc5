"""Whether a step is compiled by torch.compile, and how.

Compiling takes half a minute and saves a part of each step, so it is for trainings of many. Which those are is decided
before the first step from sizes and counts, never by a clock, and run.json says it, so that a run that goes on goes on with
the same arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.errors import SettingError, option
from unveil.models import Draw
from unveil.training.config import Precision, Training
from unveil.training.reckoning import FEW, OVERHEAD, RATE, seconds
from unveil.training.step import Step

Scalars = Mapping[str, Tensor]
Run = Callable[[Batch, Tensor], tuple[Scalars, Scalars, Draw | None]]
"""Losses, figures and, where somebody wants it, the draw of a batch at a time."""

SHORT = 1_000
"""Steps below which it is never compiled, so that nothing need be counted."""
LONG = {"cpu": 500.0, "cuda": 120.0}
"""Seconds, so reckoned, from which compiling is well earned back where it saves a tenth of each step."""


def pays(
    step: Step,
    split: Split,
    config: Training,
    precision: Precision,
    device: torch.device,
    parts: int = 1,
    before: bool | None = None,
) -> bool:
    """Whether a training is compiled, as its setting says; 'auto' does as it was done before, or else reckons.

    Args:
        step: what is trained, wherever it is now.
        split: on what.
        config: how.
        precision: of the matrix products.
        device: where.
        parts: in how many a step is made.
        before: whether the training that goes on was; None for one that begins.

    Raises:
        SettingError: it is to be compiled always, and something stands against it.
    """
    steps = config.epochs * (len(split) // min(config.batch_size, len(split)))
    if config.compile == "never":
        return False
    reason = obstacle(step, device, parts)
    if config.compile == "always":
        if reason is not None:
            raise refusal(reason)
        return True
    if device.type not in RATE or reason is not None or len(split) < FEW:
        return False
    if before is not None or steps < SHORT:
        return bool(before)
    if steps * OVERHEAD[device.type] > LONG[device.type]:
        return True
    return steps * seconds(step, split, config, precision, device) > LONG[device.type]


def obstacle(step: Step, device: torch.device, parts: int) -> str | None:
    """Why this step cannot be compiled; None where nothing is known to stand against it."""
    moving = step.moving()
    if moving:
        return f"{type(moving[0]).__name__} takes in the draw of each step"
    if parts > 1:
        return "it is made in several parts"
    if step.drifting():
        return "it has layers that move in a forward pass"
    if device.type == "cpu" and not any(which(name) for name in (os.environ.get("CXX") or "g++", "clang++", "c++")):
        return "there is no C++ compiler here"
    if device.type == "cuda" and find_spec("triton") is None:
        return "triton is not installed"
    return None


def refusal(reason: str) -> SettingError:
    """What is said where a step is to be compiled always, and cannot be."""
    return SettingError(f"the step cannot be compiled: {reason}; take {option('compile', 'auto')}")


def compiled(step: Step) -> Run:
    """A step whose losses and figures are one graph, with the noise of the step as it is.

    What is compiled is kept for the next time in a folder of the user's own: torch's default is one of a known name, where
    everybody may write.
    """
    if not os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unveil" / "compiled"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)

    def scalars(batch: Batch, t: Tensor) -> tuple[Scalars, Scalars]:
        return step.weigh(step.draw(batch), t)

    options: dict[str, Any] = {
        "fallback_random": True,  # else the noise is another, and no step can be compared
        "cpp_cache_precompile_headers": False,  # which are kept where everybody may write, whatever the folder
    }
    graph = torch.compile(scalars, dynamic=False, fullgraph=True, options=options)

    def run(batch: Batch, t: Tensor) -> tuple[Scalars, Scalars, None]:
        losses, figures = graph(batch, t)
        return losses, figures, None

    return run
