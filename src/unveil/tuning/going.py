"""How a sweep goes on: one process alone reads and writes the study, and speaks by pipes with those that train.

A trial that asks whether to go on waits for the answer, so that nothing here depends on a clock. Which trials have ended by
then does, where several are trained side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from unveil.errors import RunError
from unveil.randomness import generator
from unveil.training.stop import Stop
from unveil.tuning import study as studies
from unveil.tuning.asked import Sweep
from unveil.tuning.space import grid, start
from unveil.tuning.trial import GO, PRUNE
from unveil.tuning.workers import Ended, Message, Worker, Workers
from unveil.words import counted, number

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

log = logging.getLogger(__name__)

FEW = 64
"""Combinations of values up to which each is tried once at most: a sampler would come back to those that do well."""
FAILURES = 5
"""Trials that may fail one after another before the sweep gives up."""


class Going:
    """A sweep that goes on until enough trials have ended or somebody wants to stop.

    Args:
        sweep: what is asked.
        study: what is known.
        trials: how many are to have ended.
        threads: of each process.
        data_dir: the folder with MNIST's files.
    """

    def __init__(self, sweep: Sweep, study: Study, trials: int, threads: int, data_dir: str | None) -> None:
        from optuna.trial import Trial, TrialState

        self.sweep, self.study, self.trials, self.threads = sweep, study, trials, threads
        self.data_dir = data_dir
        self.states = TrialState
        self.streak, self.why = 0, ""
        if not study.get_trials(deepcopy=False):
            studies.enqueue(study, start(sweep.recipe, sweep.space))
        under_way = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        whole = [one for one in under_way if set(one.params) == set(sweep.space)]
        for one in under_way:
            if one not in whole:  # killed while its settings were written down
                study.tell(one.number, state=TrialState.FAIL)
        every = grid(sweep.space, max(trials, FEW))
        order = torch.randperm(len(every), generator=generator(sweep.recipe.training.seed, "combinations"))
        self.grid = [every[place] for place in order.tolist()]
        self.left = [Trial(study, one._trial_id) for one in whole]
        self.trial: dict[Worker, Trial] = {}
        self.told: set[int] = set()

    def ended(self) -> int:
        """How many trials have finished or were pruned."""
        return len(self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE, self.states.PRUNED)))

    def go(self, jobs: int, stop: Stop) -> None:
        """Have trials trained, `jobs` at a time."""
        if before := self.ended():
            log.info("going on with %s: %s of %d", self.sweep.path, counted(before, "trial"), self.trials)
        with Workers() as workers:
            while not stop.wanted:
                while len(workers.alive) < jobs and self.ended() + self._open(workers) < self.trials:
                    if (trial := self._next()) is None:
                        break
                    self._begin(trial, workers)
                if not workers.alive:
                    return
                if (said := workers.next()) is not None:
                    self._heed(*said)
                if self.streak >= FAILURES:
                    raise RunError(f"{FAILURES} trials failed one after another, the last since {self.why}")

    def _open(self, workers: Workers) -> int:
        """How many trials are under way that may still count."""
        return sum(self.trial[worker].number not in self.told for worker in workers.alive)

    def _next(self) -> Trial | None:
        """A trial that was under way, or a new one; None where all combinations were tried."""
        if self.left:
            return self.left.pop(0)
        space = self.sweep.space
        if self.grid:
            tried = [studies.chosen(one, space) for one in self.study.get_trials(deepcopy=False) if one.params]
            untried = [one for one in self.grid if one not in tried]
            if not untried:
                return None
            if tried:  # the first one stands in line
                studies.enqueue(self.study, untried[0])
        return studies.ask(self.study, space, self.sweep.recipe.training.seed)

    def _begin(self, trial: Trial, workers: Workers) -> None:
        job = self.sweep.job(trial, self.threads, self.data_dir)
        worker = workers.begin(job, self.sweep.path / f"trial-{trial.number}.log")
        self.trial[worker] = trial

    def _heed(self, worker: Worker, message: Message) -> None:
        """Do what follows from what a process says."""
        trial = self.trial[worker]
        if isinstance(message, Ended):
            if trial.number in self.told:
                return
            if message.stopped:
                self.left.append(trial)
            else:
                self._failed(trial, message.why)
        elif "epoch" in message:
            prune = self._prunes(trial, message["epoch"], message["value"])
            worker.say(PRUNE if prune else GO)
        elif "failed" in message:
            self._failed(trial, message["failed"])
        elif "done" in message:
            self._done(trial, message)

    def _prunes(self, trial: Trial, epoch: int, value: float) -> bool:
        """Whether a trial ends after this epoch. What was decided before a sweep was killed stays decided."""
        known = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if epoch < max(known, default=0):
            return False
        if epoch not in known:
            trial.report(value, epoch)
        if epoch >= self.sweep.recipe.training.epochs or not trial.should_prune():
            return False
        self._tell(trial, self.states.PRUNED)
        log.info("%s: pruned after epoch %d at -ELBO %s nats", self._name(trial), epoch, number(value, 5))
        self.streak = 0
        return True

    def _done(self, trial: Trial, said: Mapping[str, Any]) -> None:
        for name in ("stderr", "n", "by"):
            trial.set_user_attr(name, said[name])
        self._tell(trial, self.states.COMPLETE, said["done"])
        log.info("%s: %s nats", self._name(trial), number(said["done"], 6))
        self.streak = 0

    def _failed(self, trial: Trial, why: str) -> None:
        trial.set_user_attr("why", why)
        self._tell(trial, self.states.FAIL)
        log.warning("%s: failed, since %s", self._name(trial), why)
        self.streak, self.why = self.streak + 1, why

    def _tell(self, trial: Trial, state: Any, value: float | None = None) -> None:
        self.study.tell(trial, value, state)
        self.told.add(trial.number)

    def _name(self, trial: Trial) -> str:
        return f"trial-{trial.number} ({self.ended()} of {self.trials})"
