"""What a sweep found: its trials, the best first, which differences between them are real, and how to train the winner.

The best of many trials is best on the validation examples partly by chance: its figure there lies too low, and whoever says
how good it is measures it once on the test split. Whether it is better than another is judged example by example, with
all pairs counted, since which trial is best was seen on these very examples.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unveil import opening
from unveil.errors import RunError, SettingError, option
from unveil.evaluation import Figure
from unveil.evaluation.likelihood.compare import Comparison, Difference, compare
from unveil.evaluation.likelihood.contender import MANY, WEIGHTED, Contender
from unveil.evaluation.telling import told
from unveil.pages.making import training_line
from unveil.run import Run
from unveil.store import name_of
from unveil.store.files import plain
from unveil.tuning import study as studies
from unveil.tuning.space import Axis, Value, written
from unveil.words import counted, number

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

RESAMPLES = 2_000
"""Of the bootstrap: one for each trial but the best, whose intervals' ends move by 3 % of their width with the seed."""
FORMAT = 1
"""Version of tune.json."""
State = Literal["finished", "pruned", "failed", "under way"]
STATES: Mapping[str, State] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
"""What Optuna calls them."""


@dataclass(frozen=True)
class Trial:
    """One training with settings of its own.

    Attributes:
        name: of its run folder in that of the sweep.
        state: how it ended.
        values: of the settings that were tried.
        figure: mean over validation examples; None where it did not finish.
        epoch: after which it was pruned, and `value` its -ELBO there; None where it was not.
        why: it failed; empty where it did not.
    """

    name: str
    state: State
    values: Mapping[str, Value]
    figure: Figure | None = None
    epoch: int | None = None
    value: float | None = None
    why: str = ""

    def __str__(self) -> str:
        """Its settings."""
        return ", ".join(
            f"{name} {number(value, 4) if isinstance(value, float) else written(value)}"
            for name, value in self.values.items()
        )


@dataclass(frozen=True)
class Tuned:
    """What `tune` found.

    Attributes:
        recipe: whose settings, and `data` on which.
        path: the folder of the sweep.
        space: what was tried, as it is typed.
        pruner: what ended trials early.
        quantity: what trials were judged by.
        trials: the finished ones, best first, then those that were pruned, and those that failed.
        comparison: of the finished trials, example by example; None where fewer than two have values.
        importances: share of what varies over finished trials that goes with each setting, by fANOVA; empty where few have.
        few: share of the best trial's estimates that rest on few effective draws; None where it is not known.
        command: that trains the best one anew; empty where there is none.
        stopped_by: the name of the signal that ended the sweep before enough trials had ended; None where none did.
    """

    recipe: str
    data: str
    path: Path
    space: Mapping[str, str]
    pruner: str
    quantity: str
    trials: tuple[Trial, ...]
    comparison: Comparison | None = None
    importances: Mapping[str, float] | None = None
    few: float | None = None
    command: str = ""
    stopped_by: str | None = None

    @property
    def best(self) -> Trial:
        """The finished trial with the smallest mean.

        Raises:
            RunError: none has finished.
        """
        if not self.trials or self.trials[0].state != "finished":
            raise RunError(f"no trial in {self.path} has finished; go on with the sweep")
        return self.trials[0]

    def open(self) -> Run:
        """The best trial's run: its model is trained."""
        return opening.open(self.path / self.best.name)

    def table(self) -> list[tuple[str, str]]:
        """Names and values to print: trials, the best first, and how much each setting matters."""
        gaps = {} if self.comparison is None else {one.worse: one for one in self.comparison.differences}
        rows = [(trial.name, f"{self._told(trial, gaps.get(trial.name))}; {trial}") for trial in self.trials]
        if self.importances:
            said = ", ".join(f"{name} {share:.0%}" for name, share in self.importances.items())
            rows.append(("what goes with settings", f"{said} of what varies over finished trials, by fANOVA"))
        return rows

    def _told(self, trial: Trial, gap: Difference | None) -> str:
        if trial.state == "failed":
            return f"failed, since {trial.why}"
        if trial.figure is None:
            end = f" after epoch {trial.epoch} at -ELBO {number(trial.value, 5)} nats" if trial.value is not None else ""
            return f"{trial.state}{end}"
        beside = "" if gap is None else f", {gap.gap.pair()} more, p = {number(gap.corrected, 2)}: {gap.verdict}"
        return f"{self.quantity} {trial.figure}{beside}"

    def advice(self) -> list[str]:
        """What follows, and what to be careful about."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        if not finished:
            return ["no trial has finished, so that there is nothing to choose"]
        best = finished[0].name
        said = self._compared(best)
        if len(finished) > 1:
            said.append(
                f"{best} was chosen as the best of {len(finished)} on these validation examples, so that its figure is too "
                f"good for others: measure it once, on the test split, by unveil evaluate {self.path / best}"
            )
        if pruned := sum(trial.state == "pruned" for trial in self.trials):
            said.append(
                f"{counted(pruned, 'trial')} ended early by the pruner {self.pruner}; which ones depends on what had ended "
                "before, which is the same again with one job alone"
            )
        if self.few is not None and self.few > MANY:
            said.append(
                f"{self.few:.0%} of the estimates of {best} rest on few effective draws, so that -log p(x) lies too high; "
                f"more of them, {option('samples', 500)}, say more"
            )
        return said

    def _compared(self, best: str) -> list[str]:
        """Which differences are real."""
        if self.comparison is None:
            return ["fewer than two trials have finished, so that no difference can be told"]
        differences = self.comparison.differences
        beside = [one.worse for one in differences if one.verdict != "real"]
        said = [
            f"{best} has the smallest mean, and is not told from {', '.join(beside)}"
            if beside
            else f"{best} is best, by differences that are real"
        ]
        if len(beside) < len(differences):
            said.append("a real difference is one between these trained models: another seed may tell otherwise")
        pairs, over = counted(self.comparison.compared, "pair"), counted(len(differences) + 1, "trial")
        return [*said, f"p-values, paired over examples, are corrected by Holm for the {pairs} of {over}"]

    def __str__(self) -> str:
        """What `unveil tune` prints."""
        ended = counted(sum(trial.state in ("finished", "pruned") for trial in self.trials), "trial")
        text = [f"{self.recipe} on {self.data}: {ended}, judged on the validation split"]
        text += [f"  {name}: {axis}" for name, axis in self.space.items()]
        text += told("trials", self.table(), self.advice())
        return "\n".join([*text, f"train it anew: {self.command}"] if self.command else text)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for tune.json."""
        said: dict[str, Any] = plain({"format": FORMAT, **asdict(self), "path": str(self.path)})
        return said


def report(study: Study, space: Mapping[str, Axis], seed: int, stopped_by: str | None = None, **about: Any) -> Tuned:
    """What the study says of its trials; the other arguments are those of `Tuned`.

    Where somebody has stopped the sweep nothing is compared: the machine may be gone in seconds.
    """
    path: Path = about["path"]
    trials = [_trial(one, space) for one in study.get_trials(deepcopy=False) if set(one.params) == set(space)]
    by = next((one.user_attrs["by"] for one in study.get_trials(deepcopy=False) if "by" in one.user_attrs), "nll")
    found = Tuned(
        space={name: str(axis) for name, axis in space.items()},
        quantity=WEIGHTED if by == "nll" else "-ELBO",
        trials=tuple(sorted(trials, key=_rank)),
        stopped_by=stopped_by,
        **about,
    )
    if stopped_by is not None or found.trials[0].state != "finished":
        return found
    contenders = _contenders(path, [trial.name for trial in found.trials if trial.state == "finished"], by)
    best = found.trials[0].name
    few = {one.name: one.few for one in contenders}.get(best)
    if contenders:
        found = replace(found, quantity=contenders[0].quantity)
    if len(contenders) > 1:
        # with `few` it would warn of each of them; the best one's is said here
        each = [replace(one, few=None) for one in contenders]
        found = replace(found, comparison=compare(each, pairs="best", resamples=RESAMPLES, seed=seed))
    try:
        run = opening.open(path / best)
        command = training_line(run, places=True)
    except (RunError, SettingError) as error:
        log.warning("%s", error)
        command = ""
    return replace(found, importances=studies.weights(study, space, seed), few=few, command=command)


def _trial(one: FrozenTrial, space: Mapping[str, Axis]) -> Trial:
    state = STATES.get(one.state.name, "under way")
    said = one.user_attrs
    finished = state == "finished" and one.value is not None
    return Trial(
        name=f"trial-{one.number}",
        state=state,
        values=studies.chosen(one, space),
        figure=Figure(one.value, said["stderr"], said["n"]) if finished and one.value is not None else None,
        epoch=one.last_step if state == "pruned" else None,
        value=one.value if state == "pruned" else None,
        why=str(said.get("why", "its process ended")) if state == "failed" else "",
    )


def _rank(trial: Trial) -> tuple[int, float]:
    order: tuple[State, ...] = ("finished", "pruned", "under way", "failed")
    value = trial.value if trial.figure is None else trial.figure.value
    return order.index(trial.state), 0.0 if value is None else value


def _contenders(path: Path, names: list[str], by: str) -> list[Contender]:
    """Values of validation examples of finished trials; a run folder that was removed or damaged is left out."""
    found = []
    for name in names:
        try:
            found.append(replace(opening.open(path / name).contender(by, name_of("validation")), name=name))
        except RunError as error:
            log.warning("%s is not compared: %s", name, error)
    return found
