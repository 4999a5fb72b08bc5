"""How to train: one typed record for the command line and the library. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, Literal, get_args

from unveil.errors import SettingError, unknown

Schedule = Literal["cosine", "one-cycle", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]
Nonfinite = Literal["skip", "stop", "roll-back"]
Compile = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: visits of the training split, each but for the rows, others each time, that fill no whole batch.
        batch_size: examples in a step, those of all processes and microbatches together.
        accumulate: microbatches in which each process makes its part of a step, one after another: less memory, the same
            step.
        shard: whether each of several processes keeps its slice alone of moments and averages: less memory, the same step,
            and checkpoints that all of them write.
        learning_rate: the largest that the schedule reaches.
        schedule: 'cosine' (a short warm-up, then down to zero), 'one-cycle' (a long way up, then down) or 'constant'.
        warmup: share of all steps in which the learning rate rises.
        clip: largest norm of the gradient; a longer one is shortened.
        average: how much of the averaged weights each step keeps; evaluation and samples use the average. 0 for none.
        validate_every: epochs between looks at the validation split; 0 for none.
        checkpoint_every: epochs between checkpoints; 0 for none of these. There is always one at the end.
        checkpoint_steps: steps between checkpoints, for epochs that are long; 0 for none of these.
        checkpoint_minutes: minutes after which one is due whatever the step; 0 for none of these.
        checkpoint_mib: MiB that no file of a checkpoint is to exceed, at least 1; 0 for one file.
        nonfinite: what becomes of a step with a loss or gradient that is not finite or has blown up, which changes no
            weights in any case: 'skip' leaves it out, 'stop' ends the training, 'roll-back' goes back to the beginning of
            the epoch and on at half the learning rate, and leaves the step out if it comes again.
        seed: everything random is a function of it.
        device: where to train: cpu, cuda, cuda:1.
        threads: CPU threads; 0 for as many as torch takes.
        workers: threads that read examples ahead of the step, where they are not in memory; 0 for none.
        timeout: seconds after which one of several processes that does not answer is given up.
        precision: of the matrix products in training; 'auto' is bfloat16 where the machine has instructions for it.
            Evaluation is always in float32.
        compile: whether steps are compiled by torch.compile; 'auto' does so where sizes and number of steps say that the
            half minute it takes is earned back.
        capture: whether a step on a CUDA device is captured as a graph, where it can be.
        deterministic: on a GPU, take operations alone that give the same bits each time; a CPU's always do.
    """

    epochs: int = 30
    batch_size: int = 200
    accumulate: int = 1
    shard: bool = False
    learning_rate: float = 2e-3
    schedule: Schedule = "one-cycle"
    warmup: float = 0.2
    clip: float = 100.0
    average: float = 0.998
    validate_every: int = 1
    checkpoint_every: int = 5
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0
    checkpoint_mib: float = 0.0
    nonfinite: Nonfinite = "skip"
    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    workers: int = 0
    timeout: float = 600.0
    precision: Precision = "auto"
    compile: Compile = "auto"
    capture: bool = True
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        _require(
            self, "learning_rate", 0 < self.learning_rate <= 1, "above 0 and at most 1: Adam moves weights by about that"
        )
        for name in ("clip", "timeout"):
            _require(self, name, isfinite(getattr(self, name)) and getattr(self, name) > 0, "a positive number")
        for name in ("validate_every", "checkpoint_every", "checkpoint_steps", "threads", "workers", "seed"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        minutes = self.checkpoint_minutes
        _require(self, "checkpoint_minutes", isfinite(minutes) and minutes >= 0, "at least 0")
        mib = self.checkpoint_mib
        _require(self, "checkpoint_mib", mib == 0 or (isfinite(mib) and mib >= 1), "at least 1, or 0 for one file")
        kinds = {"schedule": Schedule, "precision": Precision, "nonfinite": Nonfinite, "compile": Compile}
        for name, known in kinds.items():
            if getattr(self, name) not in get_args(known):
                raise unknown(name, str(getattr(self, name)), get_args(known))
        _require(self, "warmup", 0 <= self.warmup < 1, "a share of all steps, at least 0 and below 1")
        _require(self, "average", 0 <= self.average < 1, "at least 0 and below 1")

    def given(self, **settings: Any) -> Training:
        """The same with other settings.

        Raises:
            SettingError: there is no such setting, or it cannot be that.
        """
        names = {field.name for field in fields(self)}
        for name in settings:
            if name not in names:
                raise unknown("setting", name, names)
        return replace(self, **settings)


def _require(config: Training, name: str, holds: bool, needed: str) -> None:
    if not holds:
        raise SettingError(f"{name.replace('_', ' ')} cannot be {getattr(config, name)}; give {needed}")
