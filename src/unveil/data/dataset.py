"""A dataset is three splits in one space. The test split stays apart: nothing here or elsewhere selects on it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch import Tensor

from unveil.data.ahead import Ahead
from unveil.data.batch import Batch
from unveil.data.columns import Field
from unveil.data.reading import Reading
from unveil.data.space import Space
from unveil.data.store import Store, Stored, chunks, joined, taken
from unveil.errors import DataError
from unveil.randomness import generator
from unveil.words import counted

log = logging.getLogger(__name__)

MOST_CLASSES = 10_000
"""Labels above this are no classes."""
ALL = "all"
"""The name of all rows as one split."""


@dataclass(frozen=True)
class Split:
    """Rows of one kind, as they came.

    Attributes:
        name: 'train', 'validation' or 'test'.
        values: (N, *event) stored values, in memory or read when asked for: bytes for images, floats for real data, NaN
            where a table has a gap.
        labels: (N,) int64 or None.
        rows: (N,) int64, each example's row in its source.
        reading: how stored values become x.
        context: (N, C) what a conditional model is given, or None.
        labelled: (N,) bool, whose context is known to a semi-supervised model; None for all.
        factors: (N, F) int64, what each example was made from, where that is known; None else. No model sees them.
        files: N names of files below the source's folder, where each example has one of its own; None else.
    """

    name: str
    values: Stored
    labels: Tensor | None
    rows: Tensor
    reading: Reading
    context: Tensor | None = None
    labelled: Tensor | None = None
    factors: Tensor | None = None
    files: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: Tensor) -> Split:
        """The rows at positions `rows` (int64), in that order."""
        optional = {name: pick(getattr(self, name), rows) for name in ("labels", "context", "labelled", "factors")}
        files = None if self.files is None else tuple(self.files[row] for row in rows.tolist())
        moved: dict[str, Any] = {**optional, "files": files}
        return replace(self, values=taken(self.values, rows), rows=self.rows[rows], **moved)

    def sample(self, n: int | None, seed: int) -> Split:
        """`n` rows drawn without replacement as a function of `seed`, in their order; all of them for None."""
        if n is None or n >= len(self):
            return self
        if n < 1:
            raise DataError(f"{counted(n, 'example')} cannot be drawn from the {self.name} split; ask for 1 to {len(self)}")
        chosen = torch.randperm(len(self), generator=generator(seed, "subset", self.name))[:n]
        return self.subset(chosen.sort().values)

    @property
    def told(self) -> bool:
        """Whether a model is given the labels of some rows."""
        return self.context is not None and (self.labelled is None or bool(self.labelled.any()))

    def untold(self) -> Split:
        """The same rows without their labels for a model that can do without: nats are then of x in every row."""
        return self if self.labelled is None else replace(self, labelled=torch.zeros_like(self.labelled))

    def mean(self) -> Tensor:
        """(*event) the mean of x over all rows in which it is known, float32; 0 where it is in none."""
        total, count = (torch.zeros(self.values.shape[1:], dtype=kind) for kind in (torch.float64, torch.int64))
        for chunk in chunks(self.values):
            x = self.reading.mean(chunk)
            known = ~x.isnan() if self.gaps else torch.ones_like(x, dtype=torch.bool)
            total += torch.where(known, x, 0.0).sum(0).double()
            count += known.sum(0)
        return total.div(count.clamp(min=1)).float()

    def spread(self) -> float:
        """The standard deviation of an entry of real x about its mean, pooled over entries; 1 where they are constant."""
        mean, squares = self.mean().double(), torch.zeros(self.values.shape[1:], dtype=torch.float64)
        for chunk in chunks(self.values):
            squares += (self.reading.mean(chunk).double() - mean).square().sum(0)
        pooled = float(squares.div(len(self)).mean().sqrt())
        return pooled if 0 < pooled < inf else 1.0

    @cached_property
    def gaps(self) -> bool:
        """Whether it is a table in which something is unknown: such entries are NaN."""
        if self.reading.measure != "columns" or not isinstance(self.values, Tensor):
            return False
        return bool(self.values.isnan().any())

    def in_memory(self) -> Split:
        """The same rows, read.

        Raises:
            DataError: more than memory has room for.
        """
        return self if isinstance(self.values, Tensor) else replace(self, values=self.values[:])

    def to(self, device: torch.device) -> Split:
        """The same rows with all that a batch is made of on `device`, but for values that are read when asked for."""

        def moved(column: Tensor | None) -> Tensor | None:
            return None if column is None else column.to(device)

        context, labelled = moved(self.context), moved(self.labelled)
        values = self.values.to(device) if isinstance(self.values, Tensor) else self.values
        return replace(self, values=values, context=context, labelled=labelled)

    def fixed(self, seed: int) -> Tensor:
        """(N, *event) one reading of each row that depends on (seed, row) alone, float32 on the CPU.

        Whoever asks with the same seed sees the same binarised image, whatever subset or batch it stands in.
        """
        if not self.reading.random:
            return self.reading(self.values[:])
        return torch.stack(
            [
                self.reading(value, generator(seed, "reading", self.name, row))
                for value, row in zip(self.values[:], self.rows.tolist(), strict=True)
            ]
        )

    def batches(self, size: int, seed: int, workers: int = 0) -> Iterator[Batch]:
        """All rows in their order, `size` at a time, as `fixed` reads them.

        Where they are not in memory, `workers` threads read ahead.
        """
        count = -(-len(self) // size)

        def part_of(place: int) -> Split:
            return self.subset(torch.arange(place * size, min((place + 1) * size, len(self)))).in_memory()

        for part in map(Ahead(part_of, workers, count), range(count)):
            yield Batch(part.fixed(seed), part.rows, len(self), context=part.context, labelled=part.labelled)

    def digest(self) -> bytes:
        """SHA-256 over shapes, types, values, labels and factors; what a split does not have adds nothing."""
        hash = hashlib.sha256()
        for tensor in (self.values, self.labels, self.factors):
            if tensor is not None:
                hash.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
                for chunk in self._hashed() if isinstance(tensor, Store) else (tensor,):
                    hash.update(chunk.contiguous().numpy().reshape(-1).view("uint8").data)
        return hash.digest()

    def _hashed(self) -> Iterator[Tensor]:
        """What stands for values that are not in memory: their hashes where there are some, else they themselves."""
        assert isinstance(self.values, Store)
        known = self.values.source.hashes
        yield from chunks(self.values) if known is None else (known[self.values.places],)


def pick(column: Tensor | None, rows: Tensor) -> Tensor | None:
    """The entries at positions `rows` of a column that may be missing."""
    return None if column is None else column[rows]


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
        classes = int(whole.max()) + 1
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


def carve(n: int, *shares: float) -> tuple[Tensor, ...]:
    """Split rows 0..n-1 into disjoint parts of the given shares and the rest, by one fixed permutation.

    The permutation depends on n alone, so that a dataset has the same splits in every run, whatever its seed. Each part
    is sorted, and every share of at least one row is kept.
    """
    order = torch.randperm(n, generator=generator("splits", n))
    counts = [max(1, round(share * n)) for share in shares]
    if sum(counts) >= n:
        raise DataError(
            f"{counted(n, 'example')} cannot be parted for training, validation and test; give at least {len(shares) + 1}"
        )
    parts = torch.split(order, [*counts, n - sum(counts)])
    return tuple(part.sort().values for part in parts)
