"""Before the first step: whether model and data fit together, what machine this is, and where an earlier run stopped."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from unveil.data import Batch, Dataset, Split
from unveil.errors import RunError, SettingError
from unveil.evaluation import in_evaluation
from unveil.hardware import free_memory, gigabytes
from unveil.models import Model
from unveil.objectives import Term
from unveil.store import RunFolder
from unveil.training.config import Precision, Training
from unveil.training.footprint import Footprint, footprint, state_bytes
from unveil.training.step import Step
from unveil.version import __version__
from unveil.words import counted

log = logging.getLogger(__name__)

GAPPED = 8
"""Rows with gaps that are tried out."""

FREE = (
    *("accumulate", "shard", "checkpoint_every", "checkpoint_steps", "checkpoint_minutes", "checkpoint_mib"),
    *("nonfinite", "threads", "workers", "timeout", "device", "compile"),
)
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
        log.debug("the model cannot read the data: %s", error)
        raise SettingError(
            f"the model cannot read {data.name}, of shape {data.space.shape}; give it data of the shape it was built for"
        ) from error
    if given != data.space.shape:
        raise SettingError(f"the model makes x of shape {given}, and {data.name} has {data.space.shape}; match the two")
    for split in (data.train, data.validation, data.test):
        if split.gaps:
            _check_gaps(model, split, data.name, objective)
    if objective is not None and not draw.log_px.isfinite().all():
        raise SettingError(
            f"log p(x|z) is not finite for the first rows of {data.name}: they lie outside of what the likelihood has a "
            "density for, or at its edge; take another likelihood, or bring x to where it has one"
        )


@torch.no_grad()
def _check_gaps(model: Model, split: Split, name: str, objective: Term | None) -> None:
    """See that an unknown entry, which is NaN, makes no figure NaN: a handful of rows that have some tell."""
    rows = split.values[:].flatten(1).isnan().any(1).nonzero().flatten()[:GAPPED]
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
def room_for_weights(config: Training, device: torch.device, ranks: int = 1) -> Iterator[None]:
    """Within, a model that could not be trained here for lack of memory is refused while it is built.

    Raises:
        SettingError: it has too many weights.
    """
    free, weights = free_on(device), 0

    def counted(owner: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal weights
        weights += 0 if parameter is None else parameter.numel()
        needed = state_bytes(weights, config, ranks)
        if free is not None and needed > free:
            raise SettingError(
                f"the model has at least {weights:,} weights, which take {gigabytes(needed)} to train, and "
                f"{gigabytes(free)} are free; make it smaller"
            )

    # weights are registered before they are given values, hence before they take memory
    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise SettingError("the model has more weights than any memory here could hold; make it smaller") from None
    finally:
        hook.remove()


def foresee(
    model: Model,
    objective: Term,
    data: Dataset,
    config: Training,
    precision: Precision,
    device: torch.device,
    ranks: int = 1,
) -> Footprint | None:
    """What training takes of memory in each of the processes that share a step; None where no one can tell.

    Raises:
        SettingError: more than there is; the message says which batch size would fit.
    """
    free = free_on(device)
    if free is None:
        return None
    # microbatches of one process are made one by one, but for terms that read them all
    parts = ranks * (1 if objective.couples else config.accumulate)
    whole = min(config.batch_size, len(data.train))
    one = replace(config, batch_size=-(-whole // parts))
    try:
        found = footprint(Step(model, objective), data.train, one, precision, free, ranks)
    except (RuntimeError, ValueError) as error:  # an objective that cannot do with few examples, say
        log.debug("memory cannot be foreseen: %s", error)
        return None
    if found.total > free:
        fits = parts * found.fits
        way = f"give a batch size of at most {fits:,}" if fits else "no batch size fits; make the model smaller"
        raise SettingError(
            f"training takes {gigabytes(found.weights)} for its weights and {gigabytes(found.batch)} for a step of "
            f"{counted(whole, 'example')}{f' in {parts} parts' * (parts > 1)}, and {gigabytes(free)} are free; {way}"
        )
    return found


def free_on(device: torch.device) -> int | None:
    """Bytes that may still be taken on a device; None where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, torch uses `count` CPU threads; 0 leaves its choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within, where it is `wanted`, a GPU takes operations alone that give the same bits each time, or none at all."""
    if not wanted:
        yield  # asking torch for what is so already imports the compiler, which takes a second
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS asks for, before its first product
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


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
    """Without what decides nothing but where and when things are written; with defaults that an older version lacked."""
    if not isinstance(facts, Mapping) or "epochs" not in facts:
        return facts
    return {name: value for name, value in {**asdict(Training()), **facts}.items() if name not in FREE}


def _differing(was: Any, now: Any) -> str:
    """Which settings of a configuration differ, where it is one."""
    if not isinstance(was, Mapping) or "epochs" not in was:
        return ""
    names = [name for name in now if was.get(name) != now[name]]
    return " (" + ", ".join(f"{name.replace('_', ' ')} {was.get(name)}, not {now[name]}" for name in names) + ")"


def checkpoint(
    folder: RunFolder,
    manifest: Mapping[str, Any],
    read: Callable[[int], tuple[dict[str, Tensor], dict[str, Any]]],
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The latest checkpoint that `read` can read, if it belongs to this very run."""
    if not (folder.path / "run.json").is_file():
        return None
    before = folder.manifest()
    if before.get("data", {}).get("fingerprint") != manifest["data"]["fingerprint"]:
        raise RunError(f"{folder.path} was begun on other data; resume it on the same, or name another --out")
    for name, what in (("recipe", "recipe"), ("spec", "model"), ("training", "configuration")):
        was, now = _deciding(before.get(name)), _deciding(manifest[name])
        if was != now:
            raise RunError(
                f"{folder.path} was begun with another {what}{_differing(was, now)}; resume it with the same, or name "
                "another --out"
            )
    said = ((name, before.get(name), manifest[name]) for name in ("threads", "platform", "versions", "precision"))
    compiled = "compiled", before.get("compiled", False), manifest["compiled"]
    how = "nonfinite", before["training"].get("nonfinite", Training.nonfinite), manifest["training"]["nonfinite"]
    for name, was, now in (*said, how, compiled):
        if was != now:
            log.warning("%s was %s and is %s: the resumed run may differ", name, was, now)
    for name, what in (("ranks", "of how many processes it is"), ("microbatches", "in how many parts a step is made")):
        if before.get(name, 1) != manifest[name]:
            log.warning("%s (%s) were %s and are %s", name, what, before.get(name, 1), manifest[name])
    for step in reversed(folder.checkpoints()):
        try:
            return read(step)
        except RunError as error:
            log.warning("%s; going back to the checkpoint before", error)
    if before.get("tensors"):
        raise RunError(f"{folder.path} has finished weights and no checkpoint to go on from; name another --out")
    return None
