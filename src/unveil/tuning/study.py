"""Optuna's side of a sweep: a study in a SQLite file of the sweep's folder, opened with care, and what proposes and prunes.

A sampler is made anew for each trial, seeded by (seed, how many trials there were): one that kept its state would begin its
numbers again where a sweep goes on. So a sweep of one process is a function of its seed, however often it is stopped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unveil.errors import RunError, SettingError, option, unknown
from unveil.randomness import key
from unveil.tuning.space import Axis, Range, Value, written

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial, Trial

NAME = "unveil"
"""Of the study in the file."""
ENOUGH = 5
"""Trials that have to end before the median of others ends one."""
SPARED = 3
"""A trial may take one in so many of its epochs before the median of others can end it: rates are still warming up."""
PATIENCE = 60.0
"""Seconds to wait for somebody who looks into the file."""
WEIGHED = 8
"""Finished trials below which nothing is said of how much a setting matters."""


def require() -> Any:
    """The module optuna.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SettingError("tune needs optuna, which is not installed; pip install 'unveil[tune]'") from None
    return optuna


def pruner(name: str, epochs: int) -> BasePruner:
    """What ends a trial before its last epoch: 'median', 'halving' or 'none'.

    Raises:
        SettingError: there is none of that name.
    """
    from optuna import pruners

    known: Mapping[str, Callable[[], BasePruner]] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=ENOUGH, n_warmup_steps=max(1, epochs // SPARED)),
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=max(1, epochs // 9), reduction_factor=3),
        "none": pruners.NopPruner,
    }
    if name not in known:
        raise unknown("pruner", name, known)
    return known[name]()


def distribution(axis: Axis) -> BaseDistribution:
    """What is tried, as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(axis, Range):
        return CategoricalDistribution([_stored(value) for value in axis.values])
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _stored(value: Value) -> bool | int | float | str:
    """A value as a study can hold it."""
    return written(value) if isinstance(value, tuple) else value


def chosen(trial: Trial | FrozenTrial, space: Mapping[str, Axis]) -> dict[str, Value]:
    """The values of a trial, as settings have them."""
    found: dict[str, Value] = {}
    for name, axis in space.items():
        value = trial.params[name]
        found[name] = value if isinstance(axis, Range) else next(one for one in axis.values if _stored(one) == value)
    return found


@contextmanager
def opened(path: Path, pruning: BasePruner) -> Iterator[Study]:
    """The study in a file, which is made where there is none.

    Raises:
        RunError: the file is damaged, cannot be written to, or is of another version of Optuna.
    """
    optuna = require()
    from sqlalchemy.exc import SQLAlchemyError

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with closing(_Storage(path)) as storage:
            yield optuna.create_study(storage=storage.rdb, study_name=NAME, pruner=pruning, load_if_exists=True)
    except (SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        raise _unusable(path, error) from error
    finally:
        optuna.logging.set_verbosity(before)


class _Storage:
    """Optuna's tables in a SQLite file."""

    def __init__(self, path: Path) -> None:
        from optuna.storages import RDBStorage
        from sqlalchemy.pool import QueuePool

        _look(path)

        def connect() -> sqlite3.Connection:  # in a URL, some signs that a path may have would mean something
            return sqlite3.connect(path, timeout=PATIENCE)

        try:
            self.rdb = RDBStorage("sqlite://", {"creator": connect, "poolclass": QueuePool})
        except RuntimeError as error:  # of tables that this version of Optuna does not read
            raise _unusable(path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self.rdb.remove_session()
        self.rdb.engine.dispose()


def _look(path: Path) -> None:
    """See that what is there can be read, before anything is written to it."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(str(found[0]).splitlines()[0])


def _unusable(path: Path, error: BaseException) -> RunError:
    reason = str(error.__cause__ or error).splitlines()[0]
    return RunError(
        f"{path} cannot be used, since it is damaged, full or of another version of Optuna ({reason}); the trained trials "
        f"beside it are whole, and unveil compare sets them against each other; name another {option('out')} to begin anew"
    )


def ask(study: Study, space: Mapping[str, Axis], seed: int) -> Trial:
    """A new trial: settings that are promising by the trials that ended, or what was put in line."""
    from optuna.samplers import TPESampler

    study.sampler = TPESampler(seed=key(seed, "trial", len(study.get_trials(deepcopy=False))) % 2**32)
    return study.ask({name: distribution(axis) for name, axis in space.items()})


def enqueue(study: Study, values: Mapping[str, Value]) -> None:
    """Have these values tried first."""
    study.enqueue_trial({name: _stored(value) for name, value in values.items()})


def weights(study: Study, space: Mapping[str, Axis], seed: int) -> dict[str, float]:
    """How much of what varies over the finished trials goes with each setting, by fANOVA; empty where these are few."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < WEIGHED or len({trial.value for trial in finished}) < 2:
        return {}
    varied = [name for name in space if len({trial.params[name] for trial in finished}) > 1]
    evaluator = FanovaImportanceEvaluator(seed=key(seed, "importance") % 2**32)
    found = get_param_importances(study, evaluator=evaluator, params=varied) if varied else {}
    return {name: float(value) for name, value in found.items()}
