"""What a sweep asks, put down in its folder: whoever goes on must ask the same.

sweep.json     what is asked: recipe, data, space, seed
study.sqlite   Optuna's study: settings, values and states of all trials
trial-N/       the run folder of a trial, and trial-N.log what its process printed, where it did
tune.json      what was found, and tune.txt the same to read
lock           whose it is, while somebody tunes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unveil.data import Dataset
from unveil.data.facts import facts_of
from unveil.errors import RunError, option
from unveil.recipes import Recipe
from unveil.store import files
from unveil.tuning import study as studies
from unveil.tuning.space import Axis, applied

if TYPE_CHECKING:
    from optuna.trial import Trial

ASKED, STUDY, FOUND, TOLD = "sweep.json", "study.sqlite", "tune.json", "tune.txt"
"""The files of a sweep."""
WORDS = {"data": "reading or content of its data", "measure": "evaluation"}
"""What parts of the question are called, where not by their names."""
FREE = ("name", "attribution")
"""What is said of data that may change."""


@dataclass(frozen=True)
class Sweep:
    """What is asked.

    Attributes:
        recipe: with the settings that all trials share, and how they are trained.
        data: what `unveil.load` gave.
        space: what is tried.
        pruning: the name of a pruner, or of the class of one that was given.
        measure: of the validation split: draws, images and seed.
        path: the folder.
    """

    recipe: Recipe
    data: Dataset
    space: Mapping[str, Axis]
    pruning: str
    measure: Mapping[str, Any]
    path: Path

    def asked(self) -> dict[str, Any]:
        """In plain words, by which a sweep knows itself again."""
        training = {name: value for name, value in asdict(self.recipe.training).items() if name != "threads"}
        said = {
            "recipe": self.recipe.name,
            "settings": asdict(self.recipe.model),
            "training": training,
            "data": facts_of(self.data),
            "space": {name: str(axis) for name, axis in self.space.items()},
            "pruner": self.pruning,
            "measure": dict(self.measure),
        }
        plain: dict[str, Any] = files.plain(said)
        return plain

    def folder(self, trial: int) -> Path:
        """The run folder of a trial."""
        return self.path / f"trial-{trial}"

    def job(self, trial: Trial, threads: int, data_dir: str | None) -> dict[str, Any]:
        """What the process of a trial is told."""
        chosen = applied(self.recipe, studies.chosen(trial, self.space))
        return {
            "recipe": chosen.name,
            "settings": asdict(chosen.model),
            "training": asdict(replace(chosen.training, threads=threads)),
            "data": facts_of(self.data),
            "data_dir": data_dir,
            "path": str(self.folder(trial.number)),
            "measure": dict(self.measure),
        }


def make(path: Path) -> None:
    """Make the folder, or see that it is empty or a sweep's.

    Raises:
        RunError: it holds something else, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        ours = (path / ASKED).is_file() or all(left.name == "lock" or left in files.litter(path) for left in path.iterdir())
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}; name another {option('out')}") from None
    if not ours:
        raise RunError(f"{path} holds something else than a sweep; name another {option('out')}")


def hold(sweep: Sweep) -> None:
    """Put down what is asked, or see that it is what was asked before.

    Raises:
        RunError: it was asked otherwise, or the folder is damaged.
    """
    asked, place = sweep.asked(), sweep.path / ASKED
    if not place.is_file():
        files.write_signed(place, asked)
        return
    before = files.read_signed(place)
    if not isinstance(before, dict) or set(before) != set(asked):
        raise RunError(f"{sweep.path} is a sweep of another version; name another {option('out')}")
    if before["data"].get("fingerprint") != asked["data"]["fingerprint"] and before["data"].get("name") != sweep.data.name:
        raise RunError(
            f"{sweep.path} is a sweep on other data, {before['data'].get('name')}; "
            f"give those, or name another {option('out')}"
        )
    for name in asked:
        was, now = _deciding(before[name]), _deciding(asked[name])
        if was != now:
            raise RunError(
                f"{sweep.path} is a sweep with another {WORDS.get(name, name)} ({_differing(was, now)}); go on with "
                f"the same, or name another {option('out')}"
            )
    if not (sweep.path / STUDY).is_file() and any(sweep.path.glob("trial-*")):
        raise RunError(f"{sweep.path} has trials, and no {STUDY} that says what they are; name another {option('out')}")


def _deciding(said: Any) -> Any:
    """Without what may be another where a folder was moved, and decides nothing."""
    return {name: value for name, value in said.items() if name not in FREE} if isinstance(said, dict) else said


def _differing(was: Any, now: Any) -> str:
    """What was, and what is, in a few words."""
    if not isinstance(was, dict) or not isinstance(now, dict):
        return f"{was}, not {now}"
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ", ".join(f"{name} {was.get(name, 'as it is')}, not {now.get(name, 'as it is')}" for name in names)
