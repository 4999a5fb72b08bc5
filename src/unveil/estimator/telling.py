"""What a person is told while an estimator trains."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from unveil.evaluation.names import cost_name
from unveil.training.watching import Watched


class Lines:
    """A line on standard error after some epochs, around a bar that may be there.

    Args:
        every: how many epochs.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def begin(self, watched: Watched) -> None:
        """Before the first step."""
        self.epochs, self.cost = watched.steps // watched.steps_per_epoch, cost_name(watched.normalised)

    def step(self, step: int) -> None:
        """Nothing is said of a step."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """After each epoch."""
        if record["epoch"] % self.every:
            return
        which, seen = ("validation", record["validation"]) if "validation" in record else ("training", record)
        cost, value = (self.cost, seen["neg_elbo"]) if "neg_elbo" in seen else ("loss", seen["loss"])
        tqdm.write(f"epoch {record['epoch']}/{self.epochs}: {which} {cost} {value:,.2f} nats", file=sys.stderr)
