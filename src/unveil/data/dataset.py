"""A dataset is three splits in one space. The test split stays apart: nothing here or elsewhere selects on it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unveil.data.columns import Field
from unveil.data.space import Space
from unveil.data.split import Split
from unveil.data.store import joined
from unveil.errors import DataError
from unveil.randomness import generator

log = logging.getLogger(__name__)

MOST_CLASSES = 10_000
"""Labels above this are no classes."""
ALL = "all"
"""The name of all rows as one split."""


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test in one space.

    Attributes:
        name: what `unveil.load` was asked for.
        space: event shape and base measure of x.
        train: what the weights are fitted to.
        validation: a part of the training split, kept back to choose the best weights.
        test: looked at by `evaluate` alone.
        attribution: whose data they are, and under which licence; empty where unknown.
        loadable: whether `unveil.load(name)` gives them again.
        factors: names of the columns of each split's factors; empty where these are not known.
        ordered: which of them have values in order, as sizes do; the values of the others are classes.
        classes: names of the labels 0, 1, 2, ...; empty where they have none.
        columns: of a table, each with its name; empty for other data.
        options: what to give `unveil.load` beside the name, so that other data are read in the same way.
        notes: what a person should know of how they were read.
        bad: what was left out, each with the reason.
        strange: of a table, the rows with a class that its columns do not have, each in words; a gap stands in its place.
    """

    name: str
    space: Space
    train: Split
    validation: Split
    test: Split
    attribution: str = ""
    loadable: bool = False
    factors: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    columns: tuple[Field, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, str], ...] = ()
    strange: Mapping[int, str] = field(default_factory=dict)
    splits: tuple[str, ...] = field(default=("train", "validation", "test"), init=False, repr=False)

    def split(self, name: str) -> Split:
        """The split of that name, or 'all' of them as one; DataError names the three for any other."""
        if name == ALL:
            return self.whole()
        if name not in self.splits:
            raise DataError(f"there is no split {name!r}; known: {', '.join(self.splits)} and {ALL}")
        split: Split = getattr(self, name)
        return split

    def whole(self, of: Sequence[str] = ("train", "validation", "test")) -> Split:
        """All rows, or those of some splits, as one named 'all', in the order of their source.

        Where each split has a source of its own, so that rows have no one order, those of train come first.
        """
        parts = [self.split(name) for name in of]

        def together(name: str) -> Tensor | None:
            columns = [getattr(part, name) for part in parts]
            return None if any(column is None for column in columns) else torch.cat(columns)

        optional = {name: together(name) for name in ("labels", "context", "labelled", "factors")}
        values, rows = joined([part.values for part in parts]), torch.cat([part.rows for part in parts])
        named = [part.files for part in parts if part.files is not None]
        files = tuple(name for names in named for name in names) if len(named) == len(parts) else None
        whole = replace(parts[0], name=ALL, values=values, rows=rows, files=files, **optional)  # type: ignore[arg-type]
        return whole.subset(_order(rows))

    def origins(self) -> list[str]:
        """The name of the split that each row of `whole` is of."""
        names = [name for name in self.splits for _ in range(len(self.split(name)))]
        return [names[place] for place in _order(torch.cat([self.split(name).rows for name in self.splits])).tolist()]

    def given_labels(self, known: int | None = None) -> Dataset:
        """The same data for a conditional model: each split's context is the one-hot label.

        Args:
            known: how many labels of the training split a semi-supervised model may look at, drawn by a fixed
                permutation, and none of the other splits: their nats are those of x alone; None for all.

        Raises:
            DataError: no labels, or labels that are no classes.
        """
        parts = {name: self.split(name) for name in self.splits}
        if any(part.labels is None for part in parts.values()):
            raise DataError(f"{self.name} has no labels to condition on; take data with labels, or another recipe")
        whole = torch.cat([part.labels for part in parts.values() if part.labels is not None])
        if whole.min() < 0 or whole.max() >= MOST_CLASSES:
            raise DataError(f"{self.name} has labels from {whole.min()} to {whole.max()}; number the classes 0, 1, 2, ...")
        classes = max(int(whole.max()) + 1, len(self.classes))
        assert self.train.labels is not None
        if strangers := sorted(set(whole.tolist()) - set(self.train.labels.tolist())):
            log.warning(
                "%s has labels that no training row has, of which the model learns nothing: %s", self.name, strangers
            )

        def conditioned(part: Split) -> Split:
            assert part.labels is not None
            return replace(part, context=torch.nn.functional.one_hot(part.labels, classes).float())

        train, validation, test = map(conditioned, (self.train, self.validation, self.test))
        if known is not None:
            none = {part.name: torch.zeros(len(part), dtype=torch.bool) for part in (train, validation, test)}
            order = torch.randperm(len(train), generator=generator("labelled", len(train)))
            train = replace(train, labelled=none[train.name].index_fill(0, order[:known], True))
            validation, test = (replace(part, labelled=none[part.name]) for part in (validation, test))
        return replace(self, train=train, validation=validation, test=test)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split and all that says what its numbers mean: the same only for the same in one order."""
        digests = b"".join(self.split(name).digest() for name in self.splits)
        meaning = (self.space, self.train.reading, self.columns, self.classes, self.factors, self.ordered)
        return hashlib.sha256(repr(meaning).encode() + digests).hexdigest()

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.split(name)):,} {name}" for name in self.splits)
        return f"{self.name}: {counts}; {self.space}"


def _order(rows: Tensor) -> Tensor:
    """(N,) the order that `whole` has rows in, given one split after another."""
    return rows.argsort() if len(rows.unique()) == len(rows) else torch.arange(len(rows))
