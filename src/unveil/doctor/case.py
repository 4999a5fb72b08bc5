"""What the checks of a run look at: the run, its data, and what the model makes of a few thousand examples of them.

Everything random is a function of a seed, everything is looked at in evaluation mode, and no look takes more than `ROWS`
examples, which are drawn by the seed; so that a second opinion is the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from unveil.data import Dataset, Split
from unveil.evaluation import bound, in_evaluation
from unveil.evaluation.names import cost_name
from unveil.models import Draw, Model
from unveil.randomness import reseed
from unveil.run import Run
from unveil.words import number

ROWS = 2_000
"""Most examples of a split that are looked at."""
STEPS = 2_000
"""Most steps of a training that are taken again: more than lie between two checkpoints of MNIST."""
BATCH = 250
"""Examples looked at together."""
COUNTED = ("binary", "levels", "count")
"""Measures under which nats are of probabilities, hence positive: of those a share can be taken."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Case:
    """A run under examination.

    Attributes:
        run: what was trained.
        data: what it was trained on, as its model sees them.
        seed: of the examples that are drawn, and of the noise.
        steps: most that are taken again in search of one that was lost.
        memo: what several checks share.
    """

    run: Run
    data: Dataset
    seed: int = 0
    steps: int = STEPS
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

    at_hand = True
    """Whether there are data to look at."""

    @property
    def model(self) -> Model:
        """The model, as it is used."""
        return self.run.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def sample(self, split: str, rows: int = ROWS) -> Split:
        """At most `rows` examples of a split; their classes count as unknown where a model can do without."""
        return self.data.split(split).sample(rows, self.seed).untold()

    @torch.no_grad()
    def each(self, look: Callable[[Draw], T], rows: int = ROWS) -> list[T]:
        """What `look` finds in one draw for each of at most `rows` training examples, batch by batch.

        The training split, because there a decoder is fitted to the z of its encoder: what does not fit there has no
        excuse, while on other examples it could as well be over-fitting, which is looked at by itself.
        """
        found = []
        with in_evaluation(self.model):
            for place, batch in enumerate(self.sample("train", rows).batches(BATCH, self.seed)):
                reseed(self.seed, "doctor", place, device=self.device)
                found.append(look(self.model.draw(batch.to(self.device))))
        return found

    @cached_property
    def first(self) -> Draw:
        """One draw for each of a handful of training examples: what kinds of distributions there are."""
        return self.each(lambda draw: draw, rows=8)[0]

    @cached_property
    def nats(self) -> dict[str, Tensor]:
        """The `figure` of examples of each split, (n,) float64, by one draw each."""
        found = {}
        for name in self.data.splits:
            if len(self.data.split(name)):
                parts = bound(self.model, self.sample(name).batches(BATCH, self.seed), self.seed, self.device)
                found[name] = sum(part.double() for part in parts.values())
        return found  # type: ignore[return-value]

    @cached_property
    def finite(self) -> dict[str, Tensor]:
        """Those of them that are numbers: one that is none would leave no mean, median or error of the others."""
        return {name: nats[nats.isfinite()] for name, nats in self.nats.items()}

    def told(self, name: str) -> str:
        """Their mean over a split in words, with its error and its n."""
        nats, whole = self.finite[name], len(self.nats[name])
        error = float(nats.std() / len(nats) ** 0.5) if len(nats) > 1 else float("nan")
        rest = f", {whole - len(nats):,} without a finite one left out" if len(nats) < whole else ""
        return f"{number(float(nats.mean()), 4)} ± {number(error, 2)} (n = {len(nats):,}{rest})"

    @property
    def figure(self) -> str:
        """What `nats` are: distortion and rate, or the distortion where there is no rate."""
        return cost_name(self.model.normalised, self.first.rated)

    def worth(self, share: float) -> float:
        """Nats per example that matter: `share` of the training -ELBO, or `share` nats for each entry of x.

        A density has no zero to take a share from, so there each entry counts: 0.05 nats are what a scale costs that is
        25 % too large or 20 % too small.
        """
        if self.data.space.measure in COUNTED or not self.model.normalised:
            train = self.finite["train"]
            return share * abs(float(train.median())) if len(train) else inf
        return share * self.data.space.size

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """A record for each epoch."""
        return self.run.metrics()

    @property
    def epoch(self) -> int:
        """Steps in an epoch; 1 where it is not known how the run was trained."""
        size = self.run.manifest.get("training", {}).get("batch_size", len(self.data.train))
        return max(1, len(self.data.train) // max(1, min(size, len(self.data.train))))


class Told(Case):
    """A run whose data are not at hand: what it left behind tells how many they were, and how much its nats are worth."""

    at_hand = False

    def __init__(self, run: Run) -> None:
        super().__init__(run, None)  # type: ignore[arg-type]

    def worth(self, share: float) -> float:
        """Of probabilities a share of the last loss; else nats for each entry of x."""
        facts = self.run.manifest["data"]
        if facts["measure"] in COUNTED or not self.model.normalised:
            losses = [
                one for record in self.records if (one := record.get("neg_elbo", record.get("distortion"))) is not None
            ]
            return share * abs(losses[-1]) if losses else inf
        return share * prod(facts["shape"])

    @property
    def epoch(self) -> int:
        """Steps in an epoch."""
        rows = self.run.manifest["data"]["rows"]["train"]
        return max(1, rows // max(1, min(self.run.manifest["training"]["batch_size"], rows)))
