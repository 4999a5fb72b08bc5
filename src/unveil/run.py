"""What a library user calls: train, open, and the run that both give."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

import unveil.models
import unveil.networks
import unveil.objectives
import unveil.parts
from unveil.data import Dataset, load
from unveil.errors import DataError, DivergedError, RunError, SettingError, unknown
from unveil.evaluation import Nats, Watcher, evaluate
from unveil.models import Model
from unveil.objectives import Term
from unveil.preflight import check, checkpoint, machine, threads
from unveil.randomness import reseed
from unveil.recipes import Recipe, default_recipe, recipe
from unveil.store import RunFolder, build, describe, digest, fill, free_path, write_json
from unveil.training.average import state_of
from unveil.training.config import Training
from unveil.training.loop import Monitor, fit
from unveil.training.precision import device_for, resolve

log = logging.getLogger(__name__)

RUNS = Path("runs")
KNOWN: dict[str, type[nn.Module]] = {
    name: kind
    for package in (unveil.networks, unveil.parts, unveil.models, unveil.objectives)
    for name in package.__all__
    if isinstance(kind := getattr(package, name), type) and issubclass(kind, nn.Module)
}
"""The parts that a run folder may name."""


@dataclass
class Run:
    """A trained model, and where it came from.

    Attributes:
        model: the generative model: `run.model.sample(64)`.
        objective: what it was trained on.
        manifest: what run.json says, or would say.
        path: the run folder; None where nothing was written.
        data: what it was trained on; None where it was opened from a folder and not yet asked for.
    """

    model: Model
    objective: Term
    manifest: dict[str, Any]
    path: Path | None = None
    data: Dataset | None = None

    def load_data(self, data_dir: str | Path | None = None) -> Dataset:
        """The data that it was trained on, loaded anew if need be.

        Raises:
            DataError: they cannot be found, or are not the same any more.
        """
        if self.data is None:
            facts = self.manifest["data"]
            if not facts["loadable"]:
                raise DataError(f"this run was trained on {facts['name']} in memory; hand the data over")
            data = load(facts["name"], data_dir=data_dir, measure=facts["measure"])
            if data.fingerprint != facts["fingerprint"]:
                raise DataError(
                    f"{facts['name']} is not what this run was trained on: fingerprint {data.fingerprint[:12]} "
                    f"instead of {facts['fingerprint'][:12]}; name the data to use"
                )
            self.data = self.suited(data)
        return self.data

    def suited(self, data: Dataset) -> Dataset:
        """Data as this model is to see them: with their labels where it is conditioned on those.

        Raises:
            DataError: it needs labels that the data do not have, or of another number of classes.
        """
        classes = self.manifest["data"].get("classes", 0)
        if not classes or data.train.context is not None:
            return data
        given = data.given_labels()
        assert given.train.context is not None
        if given.train.context.shape[1] != classes:
            raise DataError(
                f"the model is conditioned on {classes} classes, and {data.name} has {given.train.context.shape[1]}; "
                "take data with the same classes"
            )
        return given

    def context(self, label: int | None, n: int) -> Tensor | None:
        """(n, C) what to give a conditional model so that it makes `n` x of class `label`, or of all classes in turn.

        Raises:
            SettingError: no such class, or a model that is conditioned on nothing.
        """
        classes = self.manifest["data"].get("classes", 0)
        if not classes:
            if label is not None:
                raise SettingError("this model is conditioned on nothing, so it has no labels; leave --label out")
            return None
        if label is not None and not 0 <= label < classes:
            raise SettingError(f"there is no class {label}; the model knows 0 to {classes - 1}")
        chosen = torch.arange(n) % classes if label is None else torch.full((n,), label)
        return nn.functional.one_hot(chosen, classes).float()

    def evaluate(
        self,
        data: Dataset | None = None,
        *,
        split: str = "test",
        samples: int = 500,
        images: int | None = None,
        seed: int = 0,
        watcher: Watcher | None = None,
    ) -> Nats:
        """Its figures in nats on a split, also written to report.json where there is a run folder.

        Args:
            data: other data than it was trained on, in the same space.
            split: which split.
            samples: K, draws of z for each image.
            images: how many images; None for all.
            seed: of binarisation, noise and subset.
            watcher: told the forecast and the progress.
        """
        data = self.suited(data) if data is not None else self.load_data()
        check(self.model, data)
        found = evaluate(
            self.model,
            data.split(split),
            data=data.name,
            samples=samples,
            images=images,
            seed=seed,
            watcher=watcher,
        )
        if self.path is not None:
            weights = digest(state_of(nn.ModuleDict({"model": self.model, "objective": self.objective})))
            if weights != self.manifest["tensors"]["model.safetensors"]:
                log.warning("the weights are not those in %s any more; their figures are not kept there", self.path)
                return found
            try:
                write_json(self.path / "report.json", {**found.as_dict(), "weights": weights})
            except RunError as error:
                log.warning("%s; the figures are not kept", error)
        return found

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: a record for each epoch."""
        return [] if self.path is None else RunFolder(self.path).lines("metrics.jsonl")


class _Journal:
    """Records and checkpoints go to the run folder; what depends on time has a file of its own."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        lines = folder.lines("timing.jsonl")
        self.start = perf_counter() - (lines[-1]["seconds"] if lines else 0.0)

    def record(self, record: Mapping[str, Any]) -> None:
        self.folder.append("metrics.jsonl", record)
        seconds = round(perf_counter() - self.start, 3)
        self.folder.append("timing.jsonl", {"step": record["step"], "seconds": seconds})

    def checkpoint(self, step: int, state: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.folder.save_checkpoint(step, state, facts)


def train(
    data: Dataset | str,
    recipe: str | Recipe | None = None,
    *,
    model: Model | None = None,
    objective: Term | None = None,
    training: Training | None = None,
    latent: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    monitor: Monitor | None = None,
    **settings: Any,
) -> Run:
    """Train a model and leave a run folder.

    Args:
        data: what `unveil.load` gave, or what it takes.
        recipe: a name from `unveil recipes`; None for the one named like the data, else 'vae'.
        model: your own composition instead of a recipe's, with `objective`. Its weights are trained in place.
        objective: what your own model is trained on.
        training: how; None for the recipe's own, or `Training()` with your own model. Single `settings` may also be
            given by name: `epochs=5`.
        latent: dimensions of z, for a recipe.
        out: the run folder; None for runs/RECIPE, or runs/RECIPE-2 where that exists.
        resume: go on in `out` from its last checkpoint, or from the beginning where there is none.
        monitor: who watches.

    Returns:
        The run, its model on the CPU with the averaged weights that did best on the validation split.

    Raises:
        SettingError: settings, model and data do not fit together; found before the first step.
        RunError: the folder exists, is in use, or cannot be written.
        DivergedError: an epoch without one finite step; the folder has the best weights from before.
    """
    data = load(data) if isinstance(data, str) else data
    choice = _choose(data, recipe, model, objective, latent)
    name, data = choice.name, choice.data
    config = _settings(training or choice.training, settings)
    device = device_for(config.device)
    with threads(config.threads):
        model, objective = choice.compose(config.seed)
        check(model, data)
        _check_names(model, objective)
        precision = resolve(config.precision, device)
        manifest = _manifest(name, model, objective, data, config, precision)
        folder = RunFolder(Path(out) if out is not None else free_path(RUNS / name))
        folder.create(resume)
        with folder.locked():
            state = checkpoint(folder, manifest) if resume else None
            kept = folder.manifest().get("tensors", {}) if state is not None else {}
            folder.write_manifest({**manifest, "status": "training", "tensors": kept})
            folder.rewind(0 if state is None else state[1]["step"])
            model.to(device)
            objective.to(device)
            failure, journal = None, _Journal(folder)
            try:
                outcome = fit(model, objective, data, config, precision, journal=journal, monitor=monitor, resume=state)
            except DivergedError as error:
                failure, outcome = error, error.outcome
            if outcome is not None:
                status = "diverged" if failure else "finished" if outcome.finished else "interrupted"
                manifest |= {"status": status, "outcome": asdict(outcome)}
                whole = nn.ModuleDict({"model": model.cpu(), "objective": objective.cpu()})
                manifest = folder.finish(state_of(whole), manifest)
    if failure is not None:
        kept_in = "nothing was worth keeping" if outcome is None else f"the best weights from before are in {folder.path}"
        raise DivergedError(f"{failure}; {kept_in}") from None
    return Run(model, objective, manifest, folder.path, data)


def open(path: str | Path, parts: Iterable[type[nn.Module]] = ()) -> Run:
    """Open a run folder.

    Args:
        path: the folder.
        parts: classes of your own that the model is made of; a file never names an import.

    Raises:
        RunError: no run folder, a damaged or unfinished one, or one that needs parts which are not known.
    """
    folder = RunFolder(Path(path))
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
    fill(both, folder.model(), str(folder.path / "model.safetensors"))
    model, objective = modules["model"].eval(), modules["objective"].eval()
    if not isinstance(model, Model) or not isinstance(objective, Term):
        raise RunError(f"{path} is damaged: its spec describes a {type(model).__name__} as its model")
    return Run(model, objective, manifest, folder.path)


def _check_names(*modules: nn.Module) -> None:
    """A saved part is known by the name of its class: no two kinds may share one."""
    kinds: dict[str, type[nn.Module]] = dict(KNOWN)
    for module in (part for whole in modules for part in whole.modules()):
        kind = type(module)
        if kind.__module__.startswith("torch."):
            continue
        if kinds.setdefault(kind.__name__, kind) is not kind:
            raise SettingError(f"there is another part named {kind.__name__}; give your class another name")


@dataclass(frozen=True)
class _Choice:
    name: str
    data: Dataset
    training: Training
    compose: Callable[[int], tuple[Model, Term]]


def _choose(
    data: Dataset, given: str | Recipe | None, model: Model | None, objective: Term | None, latent: int | None
) -> _Choice:
    """What the run is called, the data as its model sees them, how it is trained by default, and what makes the model."""
    if (model is None) != (objective is None):
        raise SettingError("give model and objective together, or neither and a recipe")
    if model is not None and objective is not None:
        if given is not None:
            raise SettingError("give a recipe, or your own model and objective, not both")
        if latent is not None:
            raise SettingError("latent is for recipes; your own model has the size that you built it with")
        own = model, objective
        return _Choice("custom", data, Training(), lambda seed: own)
    chosen = given if isinstance(given, Recipe) else recipe(given or default_recipe(data.name))
    if latent is not None:
        chosen = chosen.given(latent=latent)
    seen = chosen.prepare(data)

    def compose(seed: int) -> tuple[Model, Term]:
        with torch.random.fork_rng([]):
            reseed(seed, "initialise")
            return chosen.compose(seen)

    return _Choice(chosen.name, seen, chosen.training, compose)


def _manifest(name: str, model: Model, objective: Term, data: Dataset, config: Training, precision: str) -> dict[str, Any]:
    """What run.json says before the first step."""
    return {
        "recipe": name,
        "spec": describe(model=model, objective=objective),
        "data": {
            "name": data.name,
            "loadable": data.loadable,
            "measure": data.space.measure,
            "shape": list(data.space.shape),
            "fingerprint": data.fingerprint,
            "rows": {split: len(data.split(split)) for split in data.splits},
            "attribution": data.attribution,
            "classes": 0 if data.train.context is None else data.train.context.shape[1],
        },
        "training": asdict(config),
        "precision": precision,
        **machine(),
    }


def _settings(training: Training, settings: Mapping[str, Any]) -> Training:
    names = {field.name for field in fields(Training)}
    for name in settings:
        if name not in names:
            raise unknown("setting", name, names)
    return replace(training, **settings)
