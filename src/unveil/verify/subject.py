"""What is looked at: a copy of the model and its objective, and a handful of examples that fit them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Batch, Binarise, Dataset, Gray, Plain, Reading, Space, Split
from unveil.errors import SettingError
from unveil.models import Draw, Gradient, Model
from unveil.objectives import MODEL, Loss, Term
from unveil.randomness import generator, reseed
from unveil.verify.check import NotApplicable

ROWS = 1_000
"""Training examples that are drawn from the data, or made."""
HELD = 100
"""Validation examples, likewise."""
B = 16
"""Examples in the batch that most checks look at."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under examination. Nothing that a check does to it is left for the next.

    Attributes:
        model: a copy, on the CPU and in evaluation mode.
        objective: likewise.
        data: few rows; what stands for its test split are validation rows, so that the real one is never read.
        seed: of everything random.
        known: classes that a saved form may name.
        effort: how many times the usual number of draws.
        number: which look this is.
        memo: what several checks share.
    """

    model: Model
    objective: Term
    data: Dataset
    seed: int
    known: Mapping[str, type[nn.Module]]
    effort: int = 1
    number: int = 0
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @contextmanager
    def look(self, number: int) -> Iterator[Subject]:
        """A fresh copy with noise of its own; the caller's random state is set aside within."""
        model, objective = self.copies()
        with torch.random.fork_rng([]):
            yield replace(self, model=model, objective=objective, number=number, effort=4**number)

    def copies(self) -> tuple[Model, Term]:
        """Model and objective once more, their shared parts shared, in evaluation mode."""
        pair = copy.deepcopy(nn.ModuleList([self.model, self.objective]))
        model, objective = pair.eval()
        assert isinstance(model, Model)
        assert isinstance(objective, Term)
        return model, objective

    def reseed(self, *parts: int | str) -> None:
        """Let torch's default generator begin where these parts and this look say."""
        reseed(self.seed, "verify", self.number, *parts)

    def generator(self, *parts: int | str) -> torch.Generator:
        """A generator of its own for these parts and this look."""
        return generator(self.seed, "verify", self.number, *parts)

    @cached_property
    def batch(self) -> Batch:
        """The first training examples in a fixed reading."""
        return next(self.data.train.batches(B, self.seed))

    def draw(
        self, what: str, place: int, samples: int = 1, gradient: Gradient = "pathwise", batch: Batch | None = None
    ) -> Draw:
        """Draws for the batch, or another, whose noise is a function of `what` and `place`."""
        self.reseed(what, place)
        return self.model.draw(self.batch if batch is None else batch, samples, gradient)

    def objective_s(self, what: str, place: int, batch: Batch | None = None) -> Draw:
        """Draws as the objective wants them."""
        self.reseed(what, place)
        samples, gradient = self.objective.samples or 1, self.objective.gradient or "pathwise"
        return self.model.draw(self.batch if batch is None else batch, samples, gradient)

    @torch.no_grad()
    def weights(self, what: str, place: int, samples: int) -> Tensor:
        """(K, B) log w + log mass, float64.

        Raises:
            NotApplicable: there are none.
        """
        draw = self.draw(what, place, samples)
        if not draw.rated:
            raise NotApplicable("the posterior has no density, so that there are no importance weights")
        return (draw.log_w + draw.log_mass).double()

    def context(self, n: int) -> Tensor | None:
        """(n, C) the first example's context, n times; None for a model that is conditioned on nothing."""
        return None if self.batch.context is None else self.batch.context[:1].expand(n, -1)

    def prior(self) -> Distribution:
        """p(z), given the first example's context where the model is conditioned."""
        return self.model.prior(None, self.context(1))


def picked(batch: Batch, rows: Tensor) -> Batch:
    """The examples at `rows`."""

    def of(column: Tensor | None) -> Tensor | None:
        return None if column is None else column[rows]

    index, context, labelled = of(batch.index), of(batch.context), of(batch.labelled)
    return Batch(batch.x[rows], index, batch.size, context, labelled)  # type: ignore[arg-type]


def told(loss: Loss) -> Tensor:
    """(B,) what the model is to make small."""
    return loss if isinstance(loss, Tensor) else loss[MODEL]


def leaves(objective: Term) -> list[Term]:
    """The terms that an objective is made of, none of which holds another."""
    terms = [part for part in objective.modules() if isinstance(part, Term)]
    return [term for term in terms if not any(isinstance(part, Term) and part is not term for part in term.modules())]


def subject_of(
    model: Model, objective: Term, data: Dataset | None, seed: int, known: Mapping[str, type[nn.Module]]
) -> Subject:
    """The subject that a model and its objective make, beside a few rows of `data`, or examples made for it.

    Raises:
        SettingError: the model cannot be copied, or needs data to be looked at.
    """
    try:
        pair = copy.deepcopy(nn.ModuleList([model, objective])).cpu()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"{type(model).__name__} cannot be copied ({reason}); keep no tensors with a history") from None
    own, term = pair.eval()
    assert isinstance(own, Model)
    assert isinstance(term, Term)
    rows = made(own, seed) if data is None else _few(data, seed)
    return Subject(own, term, rows, seed, known)


def _few(data: Dataset, seed: int) -> Dataset:
    train = data.train.sample(ROWS, seed).in_memory()
    held = data.validation.sample(HELD, seed).in_memory() if len(data.validation) else train.sample(HELD, seed)
    return replace(data, train=train, validation=held, test=replace(held, name="test"))


def made(model: Model, seed: int) -> Dataset:
    """Examples that fit a model: gray images where it is for those, else samples of its own.

    Raises:
        SettingError: it gives none, being conditioned on something.
    """
    try:
        x = model.sample(ROWS + HELD, seed=seed)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"{type(model).__name__} gives no samples by itself ({reason}); hand over data") from None
    measure = model.measures[0]
    readings: dict[str, Reading] = {"binary": Binarise(255), "unit": Gray(255)}
    reading = readings.get(measure, Plain(measure))
    if measure in readings:
        shade = torch.randint(0, 256, (256, *x.shape[1:]), generator=generator(seed, "verify", "gray"))
        pick = torch.randint(0, 256, (len(x),), generator=generator(seed, "verify", "pick"))
        values = ((shade[pick] + (255 * x).to(torch.int64)) // 2).to(torch.uint8)
    else:
        values = x

    def part(name: str, rows: slice) -> Split:
        return Split(name, values[rows], None, torch.arange(len(x))[rows], reading)

    held = part("validation", slice(ROWS, None))
    return Dataset(
        f"made for {type(model).__name__}",
        Space(tuple(x.shape[1:]), measure),
        part("train", slice(ROWS)),
        held,
        replace(held, name="test"),
    )
