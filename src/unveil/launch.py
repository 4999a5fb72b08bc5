"""Training as a user calls it: from data and a recipe, or one's own model, to a run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from unveil.data import Dataset, load
from unveil.data.facts import facts_of
from unveil.errors import DivergedError, RunError, SettingError, option
from unveil.models import Model
from unveil.objectives import Term
from unveil.opening import KNOWN
from unveil.preflight import check, checkpoint, deterministic, foresee, machine, room_for_weights, threads
from unveil.randomness import reseed
from unveil.recipes import Proposal, Recipe, propose, recipe
from unveil.run import Run
from unveil.store import RunFolder, describe, free_path
from unveil.training.average import state_of
from unveil.training.compiled import pays
from unveil.training.config import Training
from unveil.training.cut import Cut
from unveil.training.loop import fit
from unveil.training.memory import Memory
from unveil.training.precision import device_for, resolve
from unveil.training.ranks import join, own_device
from unveil.training.saving import follow, read, save
from unveil.training.step import Step
from unveil.training.team import Team
from unveil.training.unfinished import most
from unveil.training.watching import Audience, Monitors, Outcome

RUNS = Path("runs")
Keep = Callable[[int, dict[str, Tensor], Mapping[str, Any]], None]
"""Writes the checkpoint after a step: its tensors and facts."""

PLAIN = (bool, int, float, str, tuple, list, type(None))
"""What run.json can say of a recipe's settings."""


class _Journal:
    """Records and checkpoints go to the run folder; what depends on time has a file of its own."""

    def __init__(self, folder: RunFolder, keep: Keep) -> None:
        self.folder, self.checkpoint = folder, keep
        lines = folder.lines("timing.jsonl")
        self.start = perf_counter() - (lines[-1]["seconds"] if lines else 0.0)

    def record(self, record: Mapping[str, Any]) -> None:
        self.folder.append("metrics.jsonl", record)
        seconds = round(perf_counter() - self.start, 3)
        self.folder.append("timing.jsonl", {"step": record["step"], "seconds": seconds})

    def event(self, event: Mapping[str, Any]) -> None:
        self.folder.append("events.jsonl", event)

    def back(self, step: int) -> None:
        self.folder.forget_after(step)


class _Slices:
    """Of a rank that has its slice of checkpoints to write, and nothing else."""

    def __init__(self, keep: Keep) -> None:
        self.checkpoint = keep

    def record(self, record: Mapping[str, Any]) -> None:
        """Rank 0 writes it."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Rank 0 writes it."""

    def back(self, step: int) -> None:
        """Rank 0 removes them."""


def train(
    data: Any,
    recipe: str | Recipe | None = None,
    *,
    model: Model | None = None,
    objective: Term | None = None,
    training: Training | None = None,
    latent: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    monitor: Audience = None,
    memory: Memory | None = None,
    **settings: Any,
) -> Run:
    """Train a model and leave a run folder.

    In processes that were started together (`torchrun`), each calls this alike and they train one model: see
    docs/scaling.md.

    Args:
        data: what `unveil.load` gave, or what it takes.
        recipe: a name from `unveil recipes`; None for the one named like the data, else what `propose` proposes for them.
        model: your own composition instead of a recipe's, with `objective`. Its weights are trained in place.
        objective: what your own model is trained on.
        training: how; None for the recipe's own, or `Training()` with your own model. Single `settings` may also be
            given by name: `epochs=5`.
        latent: dimensions of z, for a recipe.
        out: the run folder; None for runs/RECIPE, or runs/RECIPE-2 where that exists.
        resume: go on in `out` from its last checkpoint, or from the beginning where there is none.
        monitor: who watches, one or several: see docs/logs.md.
        memory: keeps records and state in place of a run folder, so that nothing is written, and gives the state to go on
            from where it has one.

    Returns:
        The run, its model on the CPU with the averaged weights that did best on the validation split.

    Raises:
        SettingError: settings, model and data do not fit together; found before the first step.
        RunError: the folder exists, is in use, or cannot be written.
        DivergedError: an epoch without one finite step; the folder has the best weights from before.
        RankError: another process ended or does not answer.

    Example:
        >>> import unveil
        >>> run = unveil.train("digits", recipe="vae", latent=4, epochs=2, out="runs/digits")
        >>> run.sample(3, seed=0).shape
        torch.Size([3, 1, 8, 8])
    """
    team = join(settings.get("timeout", (training or Training()).timeout))
    with team.failing_together():
        if memory is not None and (out is not None or resume):
            raise SettingError("a training in memory has no folder; leave out and resume away, or memory")
        require_place(out, resume, team)
        data = load(data)
        if model is None and recipe is None:
            recipe = unnamed(data, out, resume).recipe
        choice = _choose(data, recipe, model, objective, latent)
        name, data = choice.name, choice.data
        config = (training or choice.training).given(**settings)
        device = device_for(own_device(config.device))
        with threads(config.threads), deterministic(config.deterministic):
            with room_for_weights(config, device, team.size):
                model, objective = choice.compose(config.seed)
            check(model, data, objective)
            _check_names(model, objective)
            precision = resolve(config.precision, device)
            foresee(model, objective, data, config, precision, device, team.size)
            before = _compiled_before(out) if resume else None
            parts = team.size * config.accumulate
            compiling = pays(Step(model, objective), data.train, config, precision, device, parts, before)
            manifest = _manifest(choice, model, objective, config, precision, team.size)
            manifest["compiled"] = compiling
            team.agree(_common(manifest))
            work = partial(fit, model, objective, data, config, precision, team=team, compiling=compiling)
            whole = nn.ModuleDict({"model": model, "objective": objective}).to(device)
            if memory is not None:
                outcome = work(journal=memory, monitor=Monitors(monitor, about=manifest), resume=memory.state)
                whole.cpu()
                return Run(model, objective, _ended(manifest, outcome), None, data)
            folder = _folder(out, name, resume, team)
            cut = Cut(sum(one.numel() for one in whole.parameters() if one.requires_grad), team, config.shard)
            keep = partial(save, folder, cut=cut, most=int(config.checkpoint_mib * 2**20))
            if team.rank == 0:
                work = partial(work, monitor=Monitors(monitor, folder.path, manifest))
                manifest = team.tell(_record(folder, manifest, whole, work, resume, cut, keep))
            else:
                manifest = _follow(folder, whole, work, cut, keep)
    return Run(model, objective, manifest, folder.path, data)


def require_place(out: str | Path | None, resume: bool, team: Team) -> None:
    """Refuse, before data are read, to go on in no folder in particular, or to begin in one that is there.

    Raises:
        SettingError: to resume, and no folder is named: a new one would be made, and the training begin anew.
        RunError: the folder exists.
    """
    if resume and out is None:
        raise SettingError(
            f"{option('resume')} goes on in a run folder, and none is named; add {option('out', 'runs/NAME')}"
        )
    if out is not None and not resume and team.rank == 0:
        RunFolder(Path(out)).require_new()


def unnamed(data: Dataset, out: str | Path | None = None, resume: bool = False) -> Proposal:
    """What is trained where no recipe is named: as before in a run that goes on, else what `propose` proposes."""
    before = _recipe_before(out) if resume else None
    if before is not None:
        return Proposal(before)
    with room_for_weights(Training(), torch.device("cpu")):
        return propose(data)


def _recipe_before(out: str | Path | None) -> Recipe | None:
    """The recipe of the training that is to go on, with its settings; None where it had none that is known."""
    path = Path(out or RUNS)
    said = RunFolder(path).manifest() if (path / "run.json").is_file() else {}
    try:
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in said["settings"].items()}
        chosen = recipe(said["recipe"])
        return replace(chosen.given(**settings), training=Training(**said["training"]))
    except (SettingError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _compiled_before(out: str | Path | None) -> bool | None:
    """Whether the training that is to go on was compiled; None where nothing says so."""
    path = Path(out or RUNS)
    said = RunFolder(path).manifest().get("compiled") if (path / "run.json").is_file() else None
    return said if isinstance(said, bool) else None


def _common(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What every process of a training must have alike, in words that can be compared."""
    facts = {name: str(manifest[name]) for name in ("recipe", "precision", "versions")}
    facts["data with the fingerprint"] = manifest["data"]["fingerprint"][:16]
    facts["a model with the digest"] = hashlib.sha256(json.dumps(manifest["spec"]).encode()).hexdigest()[:16]
    own = ("device", "threads", "workers")
    return facts | {name.replace("_", " "): str(v) for name, v in manifest["training"].items() if name not in own}


def _folder(out: str | Path | None, name: str, resume: bool, team: Team) -> RunFolder:
    """The run folder, which rank 0 makes and the others know by name."""
    if team.rank > 0:
        return RunFolder(Path(team.tell()))
    folder = RunFolder(Path(out) if out is not None else free_path(RUNS / name))
    folder.create(resume)
    team.tell(str(folder.path))
    return folder


def _follow(folder: RunFolder, whole: nn.ModuleDict, work: Callable[..., Outcome], cut: Cut, keep: Keep) -> dict[str, Any]:
    """Do the work as one of those ranks that leave nothing but their slices; the manifest as rank 0 left it."""
    team = cut.team
    try:
        if cut.whole:
            work()
        else:
            work(journal=_Slices(keep), resume=follow(folder, most(whole), cut))
    except DivergedError:
        team.tell()  # it is rank 0's to say, and to save what is worth it
        raise
    whole.cpu()
    manifest: dict[str, Any] = team.tell()
    return manifest


def _record(
    folder: RunFolder,
    manifest: dict[str, Any],
    whole: nn.ModuleDict,
    work: Callable[..., Outcome],
    resume: bool,
    cut: Cut,
    keep: Keep,
) -> dict[str, Any]:
    """Do the work and leave what comes of it in the folder; the manifest as it is there in the end."""
    team = cut.team
    with folder.locked():
        reading = partial(read, folder, most=most(whole), cut=cut)
        state = checkpoint(folder, manifest, reading) if resume else None
        if state is not None and len(state[0].get("weights/values", ())) != cut.mine.stop - cut.mine.start:
            raise RunError(
                f"the checkpoints in {folder.path} have another number of weights, as an older version's may; name another "
                f"{option('out')}"
            )
        if state is None and not cut.whole:
            team.tell()  # that there is none to follow
        kept = folder.manifest().get("tensors", {}) if state is not None else {}
        folder.write_manifest({**manifest, "status": "training", "tensors": kept})
        folder.rewind(*(0, 0) if state is None else (state[1]["step"], state[1].get("events", 0)))
        outcome: Outcome | None = None
        failure: DivergedError | None = None
        try:
            outcome = work(journal=_Journal(folder, keep), resume=state)
        except DivergedError as error:
            failure, outcome = error, error.outcome
        if outcome is not None:
            manifest = folder.finish(state_of(whole.cpu()), _ended(manifest, outcome, failure is not None))
    if failure is not None:
        team.tell()
        kept_in = "nothing was worth keeping" if outcome is None else f"the best weights from before are in {folder.path}"
        raise DivergedError(f"{failure}; {kept_in}") from None
    return manifest


def _ended(manifest: dict[str, Any], outcome: Outcome, diverged: bool = False) -> dict[str, Any]:
    """The manifest of a training that is over."""
    status = "diverged" if diverged else "finished" if outcome.finished else "interrupted"
    return {**manifest, "status": status, "outcome": asdict(outcome), "compiled": outcome.compiled}


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
    settings: dict[str, Any]


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
        return _Choice("custom", data, Training(), lambda seed: own, {})
    assert given is not None
    chosen = given if isinstance(given, Recipe) else recipe(given)
    if latent is not None:
        chosen = chosen.given(latent=latent)
    seen = chosen.prepare(data)

    def compose(seed: int) -> tuple[Model, Term]:
        with torch.random.fork_rng([]):
            reseed(seed, "initialise")
            return chosen.compose(seen)

    said = {name: value for name, value in asdict(chosen.model).items() if isinstance(value, PLAIN)}
    return _Choice(chosen.name, seen, chosen.training, compose, said)


def _manifest(
    choice: _Choice, model: Model, objective: Term, config: Training, precision: str, ranks: int
) -> dict[str, Any]:
    """What run.json says before the first step."""
    return {
        "recipe": choice.name,
        "settings": choice.settings,
        "spec": describe(model=model, objective=objective),
        "data": facts_of(choice.data),
        "training": asdict(config),
        "precision": precision,
        "ranks": ranks,
        "microbatches": ranks * config.accumulate,
        **machine(),
    }
