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

from unveil.data import Batch, Dataset, Split
from unveil.errors import RunError, SettingError
from unveil.evaluation import in_evaluation
from unveil.models import Model
from unveil.objectives import Term
from unveil.store import RunFolder
from unveil.version import __version__

log = logging.getLogger(__name__)

GAPPED = 8
"""Rows with gaps that are tried out."""

FREE = ("checkpoint_every", "checkpoint_steps", "checkpoint_minutes", "threads", "device")
"""Settings of training that a resumed run may change; of those that may change a result it is warned."""


@torch.no_grad()
def check(model: Model, data: Dataset, objective: Term | None = None) -> None:
    """See that model and data fit together, before anything is trained or printed.

    Args:
        model: on any device.
        data: as it is to see them.
        objective: what it is to be trained on, where it is.

    Raises:
        SettingError: the likelihood is for another space, a shape does not fit, or a part cannot read the gaps of a table.
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
    for split in (data.train, data.validation, data.test):
        if split.gaps:
            _check_gaps(model, split, data.name, objective)


@torch.no_grad()
def _check_gaps(model: Model, split: Split, name: str, objective: Term | None) -> None:
    """See that an unknown entry, which is NaN, makes no figure NaN: a handful of rows that have some tell."""
    rows = split.values.flatten(1).isnan().any(1).nonzero().flatten()[:GAPPED]
    device = next(model.parameters()).device
    batch = next(split.subset(rows).batches(GAPPED, 0)).to(device)
    remedy = f"and {name} has gaps; fill them, drop their rows or columns, or take another"
    with in_evaluation(model), torch.random.fork_rng(range(torch.cuda.device_count()) if device.type == "cuda" else []):
        draw = model.draw(batch, 1 if objective is None else objective.samples or 1)
        if draw.log_px.isnan().any():
            raise SettingError(f"{type(model).__name__} reads x as if all of it were known, {remedy} model")
        if objective is None:
            return
        loss = objective(draw, model, torch.zeros((), device=device))
        if any(one.isnan().any() for one in ([loss] if isinstance(loss, Tensor) else loss.values())):
            raise SettingError(f"the objective reads x as if all of it were known, {remedy} objective or recipe")


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
    for step in reversed(folder.checkpoints()):
        try:
            return folder.checkpoint(step)
        except RunError as error:
            log.warning("%s; going back to the checkpoint before", error)
    if before.get("tensors"):
        raise RunError(f"{folder.path} has finished weights and no checkpoint to go on from; name another --out")
    return None
