"""Runs that are there already: opened from a folder, from among the models that come with the package, or from the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

import unveil.models
import unveil.networks
import unveil.objectives
import unveil.parts
from unveil.data.facts import homeless
from unveil.errors import RunError, SettingError, unknown
from unveil.models import Model
from unveil.objectives import Term
from unveil.remote import Remote, is_address
from unveil.run import Run
from unveil.store import LAYERS, RunFolder, build, fill, size
from unveil.training.unfinished import told, unfinished

log = logging.getLogger(__name__)

PACKAGES = (unveil.networks, unveil.parts, unveil.models, unveil.objectives)
KNOWN: dict[str, type[nn.Module]] = LAYERS | {
    name: kind
    for package in PACKAGES
    for name in package.__all__
    if isinstance(kind := getattr(package, name), type) and issubclass(kind, nn.Module)
}
"""The parts that a run folder may name, and torch's layers, which it names by `nn.`."""
PRETRAINED = Path(__file__).parent / "pretrained_models"
"""Where the run folders are that come with the package."""


def open(path: str | Path, parts: Iterable[type[nn.Module]] = ()) -> Run:
    """Open a run folder: one that is unfinished with the weights of its last checkpoint, which is said as a warning.

    Args:
        path: the folder; the name of a model that comes with the package where there is no such folder; or hf://OWNER/NAME
            or hf://OWNER/NAME@REVISION for one on the Hugging Face Hub, where `Run.name` has the commit that this meant.
        parts: classes of your own that the model is made of; a file never names an import.

    Raises:
        RunError: no run folder, a damaged one, one without a checkpoint yet, or one that needs parts which are not known.
        HubError: the hub does not answer, or has no such model.

    Example:
        >>> import unveil
        >>> run = unveil.open("mnist-2d")  # or a folder that `unveil.train` left
        >>> run.sample(2, seed=0).shape
        torch.Size([2, 1, 28, 28])
    """
    remote = Remote.find(path) if is_address(path) else None
    if remote is not None:
        folder, origin = RunFolder(remote.folder()), remote.name
    elif is_shipped(path):
        folder, origin = RunFolder(PRETRAINED / Path(path).name), Path(path).name
    else:
        folder, origin = RunFolder(Path(path)), ""
    manifest = folder.manifest()
    known = dict(KNOWN)
    for part in parts:
        if part.__name__ in KNOWN:
            raise SettingError(f"there is a part named {part.__name__} already; give yours another name")
        known[part.__name__] = part
    modules = build(manifest.get("spec"), known)
    if set(modules) != {"model", "objective"}:
        raise RunError(f"{path} is damaged: its spec has no model and objective")
    both = nn.ModuleDict(modules)
    if remote is not None:
        remote.complete(size(both))
        manifest = {**manifest, "data": homeless(manifest["data"])}  # a stranger names no place on this machine
    manifest = _filled(both, folder, manifest, origin or str(folder.path))
    model, objective = modules["model"].eval(), modules["objective"].eval()
    if not isinstance(model, Model) or not isinstance(objective, Term):
        raise RunError(f"{path} is damaged: its spec describes a {type(model).__name__} as its model")
    return Run(model, objective, manifest, folder.path, origin=origin)


def _filled(both: nn.ModuleDict, folder: RunFolder, manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """Give model and objective their weights; the manifest, with how far it got where the run is unfinished."""
    finished = isinstance(manifest["tensors"].get("model.safetensors"), str)
    found = unfinished(folder, both) if manifest.get("status") == "training" or not finished else None
    if found is None:
        fill(both, folder.model(size(both)), str(folder.path / "model.safetensors"))
        _warn_of_the_end(name, manifest)
        return manifest
    fill(both, found.tensors, found.source)
    log.warning("%s is %s", name, found)
    outcome = {"steps": found.step, "finished": False, "best_step": found.best_step, "best_value": found.best_value}
    return {**manifest, "outcome": {**outcome, "stopped_by": None}}


def _warn_of_the_end(name: str, manifest: dict[str, Any]) -> None:
    """Say so where somebody stopped the training."""
    outcome = manifest.get("outcome")
    if manifest.get("status") == "interrupted" and isinstance(outcome, dict):
        step, best = outcome.get("steps"), outcome.get("best_step")
        if isinstance(step, int) and isinstance(best, int):
            log.warning("%s is %s", name, told(step, best))


def pretrained(name: str) -> Run:
    """A small trained model that comes with the package: 'mnist' or 'mnist-2d'.

    It is opened from the package alone, without the data that it was trained on.

    Raises:
        SettingError: no such model.

    Example:
        >>> import unveil
        >>> unveil.pretrained("mnist").sample(16, seed=0).shape
        torch.Size([16, 1, 28, 28])
    """
    if name not in shipped_names():
        raise unknown("pretrained model", name, shipped_names())
    return open(PRETRAINED / name)


def shipped_names() -> list[str]:
    """The models that come with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/run.json"))


def is_shipped(path: str | Path) -> bool:
    """Whether `path` is the name of a model that comes with the package, or its folder, and no other folder."""
    given = Path(path)
    return given.parent == PRETRAINED or (not given.exists() and str(path) in shipped_names())
