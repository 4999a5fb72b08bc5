"""What is held out of training where somebody asks for it: a share of the rows, or a source of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import isfinite

import torch

from unveil.data.dataset import Dataset
from unveil.data.split import Split
from unveil.data.splitting import HELD_OUT, carve
from unveil.errors import DataError


@dataclass(frozen=True)
class Held:
    """What validates and tests: of each a share of the rows, as 0.2, or a file or folder that is read as the data are.

    Attributes:
        validation: without it, as the data say, else a tenth of the rows that are not the test's.
        test: without it, as the data say, else a tenth of the rows.
    """

    validation: str | float | None = None
    test: str | float | None = None

    def apply(self, data: Dataset, read: Callable[[str], Dataset]) -> Dataset:
        """The same data, held out as asked for.

        A split that is to have a share is carved anew, by a permutation that depends on the number of rows alone, out of
        train and what it was before; the other one stays as it was.

        Args:
            data: as they would be otherwise.
            read: reads a source as these data are.

        Raises:
            DataError: shares that leave nothing, or a source that does not suit.
        """
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        shares = {name: share for name, said in asked.items() if (share := _share(name, said)) is not None}
        sources = {name: str(said) for name, said in asked.items() if said is not None and name not in shares}
        if not shares and not sources:
            return data
        pool = data.whole(("train", *shares, *sources))
        names = list(shares)
        total = sum(len(data.split(name)) for name in data.splits)
        counts = [share * total / len(pool) for share in shares.values()]
        if sum(counts) >= 1:
            said = " and ".join(f"{share:g}" for share in shares.values())
            raise DataError(f"{said} of the rows leave none to train on; give smaller shares")
        parts = carve(len(pool), *counts) if shares else (torch.arange(len(pool)),)
        given = {name: replace(pool.subset(rows), name=name) for name, rows in zip([*names, "train"], parts, strict=True)}
        options = {**data.options, **{name: str(share) for name, share in shares.items()}}
        for name, source in sources.items():
            found = read(source)
            given[name] = replace(_alike(found, data), name=name)
            options[name] = found.name  # the whole path
        return replace(data, options=options, **given)  # type: ignore[arg-type]


HELD = tuple(field.name for field in fields(Held))
"""Options that are a share, or a source of its own."""


def _share(name: str, said: str | float | None) -> float | None:
    """The share that was asked for; None for a source, or for nothing."""
    try:
        share = None if said is None else float(said)
    except ValueError:
        return None
    if share is not None and not (isfinite(share) and 0 < share < 1):
        raise DataError(f"{name} cannot be {said} of the rows; give a share between 0 and 1, as {HELD_OUT[0]}, or a file")
    return share


def _alike(found: Dataset, data: Dataset) -> Split:
    """All rows of another source, with labels numbered as those of the data."""
    if found.space != data.space:
        raise DataError(f"{found.name} is {found.space}, and {data.name} {data.space}; hold out data of the same kind")
    whole = found.whole()
    if (whole.labels is None) != (data.train.labels is None):
        which, other = (data.name, found.name) if whole.labels is None else (found.name, data.name)
        raise DataError(f"{which} has labels, and {other} has none; give both, or neither")
    if whole.labels is None or found.classes == data.classes:
        return whole
    if strangers := [name for name in found.classes if name not in data.classes]:
        raise DataError(f"{found.name} has the class {strangers[0]!r}, which {data.name} does not have; leave it out")
    number = torch.tensor([data.classes.index(name) for name in found.classes])
    return replace(whole, labels=number[whole.labels])
