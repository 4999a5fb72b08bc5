"""Rows that occur twice: within a split, or, worse, in two splits, where the second one judges what the first one taught.

Rows are compared by a hash of their stored values, all of them. Blank rows and rows that are not finite have findings of
their own and are left out here. Where examples are few numbers that are counted, equal ones come by chance and say nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import inf, log2

import torch
from torch import Tensor

from unveil.data import Dataset, Split
from unveil.doctor.finding import Finding, rows_of
from unveil.randomness import generator
from unveil.words import counted

MANY = 0.01
"""Share of a split's rows above which copies move its figures: each copied row counts as one that was learned by heart."""
SAMPLE = 2_000
"""Rows by which it is judged how much an example says."""


@dataclass(frozen=True)
class _Hashed:
    """The rows of a split that can be compared.

    Attributes:
        places: where they stand in the split, int64.
        hashes: of their stored values.
    """

    places: Tensor
    hashes: list[bytes]


def copies_within_splits(data: Dataset) -> Iterator[Finding]:
    """Examples that a split holds more than once."""
    for name in data.splits:
        split, hashed = data.split(name), _hashed(data.split(name))
        counts = Counter(hashed.hashes)
        again = len(hashed.hashes) - len(counts)
        if again == 0 or _by_chance(data, len(split) ** 2 / 2):
            continue
        repeated = torch.tensor([counts[hash] > 1 for hash in hashed.hashes])
        yield Finding(
            "doubtful" if again > MANY * len(split) else "note",
            f"the {name} split holds examples more than once",
            f"{again:,} of n = {len(split):,} rows are exact copies of another one ("
            f"{rows_of(split, hashed.places[repeated])} of the source){_contradictions(split, hashed)}",
            "keep one of each: copies count several times, and a model learns them by heart first",
        )


def _contradictions(split: Split, hashed: _Hashed) -> str:
    """How many copied examples have labels that contradict each other, in words."""
    if split.labels is None:
        return ""
    labels: dict[bytes, set[int]] = {}
    for hash, label in zip(hashed.hashes, split.labels[hashed.places].tolist(), strict=True):
        labels.setdefault(hash, set()).add(label)
    several = sum(len(one) > 1 for one in labels.values())
    return f"; {counted(several, 'example')} with labels that differ between their copies" if several else ""


def copies_between_splits(data: Dataset) -> Iterator[Finding]:
    """Examples that stand in two splits: the later one is no longer apart."""
    hashed = {name: _hashed(data.split(name)) for name in data.splits}
    found, worst = [], 0.0
    for first, second in combinations(data.splits, 2):
        known, split = set(hashed[first].hashes), data.split(second)
        shared = torch.tensor([hash in known for hash in hashed[second].hashes], dtype=torch.bool)
        if shared.any() and not _by_chance(data, len(data.split(first)) * len(split)):
            again = hashed[second].places[shared]
            said = rows_of(split, again)
            found.append(f"{len(again):,} of n = {len(split):,} {second} rows also stand in {first} ({said})")
            worst = max(worst, len(again) / len(split))
    if found:
        yield Finding(
            "wrong" if worst > MANY else "doubtful",
            "the same examples stand in two splits",
            "; ".join(found),
            "remove copies before the data are split; figures on the later split flatter the model until then",
        )


def _hashed(split: Split) -> _Hashed:
    """Blank and non-finite rows are left out."""
    values = split.values[:].flatten(1)
    sound = torch.ones(len(values), dtype=torch.bool)
    if values.is_floating_point():
        gaps = values.isnan() if split.reading.measure == "columns" else torch.zeros_like(values, dtype=torch.bool)
        sound = (torch.isfinite(values) | gaps).all(1)
        values = values + 0.0  # -0 is 0, but not in its bytes
    if values.shape[1] > 1:
        sound &= values.amin(1) != values.amax(1)
    places = sound.nonzero().flatten()
    array = values.contiguous().numpy()
    return _Hashed(places, [hashlib.blake2b(array[place].tobytes(), digest_size=16).digest() for place in places.tolist()])


def _by_chance(data: Dataset, pairs: float) -> bool:
    """Whether among this many pairs of examples some would be equal though nobody copied them.

    Two examples whose entries were independent would be equal with probability 2^-b, b the sum over entries of
    -log2 sum_v p(v)^2. Entries do depend on each other; half of those bits is what is taken for certain.
    """
    sample = data.train.sample(SAMPLE, 0).values[:].flatten(1)
    needed, bits = 2 * log2(max(pairs, 2.0)), 0.0
    for place in torch.randperm(sample.shape[1], generator=generator("doctor", "entries")).tolist():
        bits += _bits(sample[:, place])
        if bits > needed:
            return False
    return True


def _bits(values: Tensor) -> float:
    """-log2 of the probability that two of `values` (N,) are equal; infinite where hardly any are."""
    values = values[~values.isnan()]
    counts = values.unique(return_counts=True)[1].double()
    if values.is_floating_point() and len(counts) > 0.5 * len(values):
        return inf
    return -log2(float((counts / counts.sum()).square().sum()))
