"""Before the first step: whether model and data fit together, what machine this is, and where an earlier run stopped."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.data import Batch, Dataset
from unveil.errors import RunError, SettingError
from unveil.evaluation import in_evaluation
from unveil.models import Model
from unveil.store import RunFolder
from unveil.version import __version__

log = logging.getLogger(__name__)

FREE = ("accumulate", "checkpoint_every", "checkpoint_steps", "checkpoint_minutes", "threads", "timeout", "device")
"""Settings of training that a resumed run may change; of those that may change a result it is warned."""


@torch.no_grad()
def check(model: Model, data: Dataset) -> None:
    """See that model and data fit together, before anything is trained or printed.

    Raises:
        SettingError: the likelihood is for another space, or a shape does not fit.
    """
    if data.space.measure not in model.measures:
        raise SettingError(
            f"the likelihood is for {' or '.join(map(repr, model.measures))} data, and {data.name} is "
            f"{data.space.measure!r}; load the data with another measure, or take a likelihood for it"
        )
    x = data.train.reading.mean(data.train.values[:2]).to(next(model.parameters()).device)
    try:
        with in_evaluation(model):
            context, labelled = (
                None if c is None else c[:2].to(x.device) for c in (data.train.context, data.train.labelled)
            )
            draw = model.draw(Batch(x, torch.arange(len(x)), len(data.train), context=context, labelled=labelled))
        given = tuple(draw.output.event_shape)
    except SettingError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"the model cannot read {data.name}, of shape {data.space.shape}; give it data of the shape that it was built "
            f"for ({reason})"
        ) from error
    if given != data.space.shape:
        raise SettingError(f"the model makes x of shape {given}, and {data.name} has {data.space.shape}; match the two")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, torch uses `count` CPU threads; 0 leaves its choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """What a result may depend on besides its settings."""
    return {
        "threads": torch.get_num_threads(),
        "versions": {
            "unveil": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _deciding(facts: Any) -> Any:
    """Without what decides nothing but where and when things are written."""
    if not isinstance(facts, Mapping):
        return facts
    return {name: value for name, value in facts.items() if name not in FREE}


def checkpoint(folder: RunFolder, manifest: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The latest checkpoint that can be read, if it belongs to this very run."""
    if not (folder.path / "run.json").is_file():
        return None
    before = folder.manifest()
    for name, what in (("spec", "model"), ("training", "configuration"), ("recipe", "recipe")):
        if _deciding(before.get(name)) != _deciding(manifest[name]):
            raise RunError(f"{folder.path} was begun with another {what}; resume it with the same, or name another --out")
    if before.get("data", {}).get("fingerprint") != manifest["data"]["fingerprint"]:
        raise RunError(f"{folder.path} was begun on other data; resume it on the same, or name another --out")
    for name in ("threads", "platform", "versions", "precision"):
        if before.get(name) != manifest[name]:
            log.warning("%s was %s and is %s: the resumed run may differ", name, before.get(name), manifest[name])
    for name, what in (("ranks", "of how many processes it is"), ("microbatches", "in how many parts a step is made")):
        if before.get(name, 1) != manifest[name]:
            log.warning("%s (%s) were %s and are %s", name, what, before.get(name, 1), manifest[name])
    for step in reversed(folder.checkpoints()):
        try:
            return folder.checkpoint(step)
        except RunError as error:
            log.warning("%s; going back to the checkpoint before", error)
    if before.get("tensors"):
        raise RunError(f"{folder.path} has finished weights and no checkpoint to go on from; name another --out")
    return None
