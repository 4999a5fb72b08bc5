"""What one model says of each image, with all that decides whether it can be set against what another says.

A difference of two nats means something where both are nats of the same x: the same images, read the same way, against
the same base measure. `check_alike` refuses the rest, and `cautions` says what is left to bear in mind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

import torch
from torch import Tensor

from unveil.data import Split
from unveil.errors import SettingError, option
from unveil.words import counted

WEIGHTED = "-log p(x)"
"""The quantity that is estimated by importance weights, so that its bias depends on how many draws there were."""
MANY = 0.05
"""Share of images with few effective draws above which the whole estimate is called an upper bound only."""


@dataclass(frozen=True)
class Contender:
    """One model's values.

    Attributes:
        name: of the model or run.
        values: (N,) float64 nats of each image, smaller is better.
        quantity: what they are: '-log p(x)', '-ELBO', 'cross-entropy + rate', 'distortion'.
        samples: K, draws of z for each image.
        rows: (N,) int64, each image's row in its source.
        split: name of the split.
        fingerprint: SHA-256 over the stored values and labels of these images.
        reading: how stored values become x, with measure and levels: what the nats are nats of.
        read_by: the seed of the binarisation; None where a reading is not random.
        normalised: whether log p(x|z) is a log-likelihood of x.
        told: whether the model is given the labels, so that its nats are those of x given y.
        few: share of images whose estimate rests on few effective draws, where it is known.
        defensive: share of the draws that did not come from the encoder.
    """

    name: str
    values: Tensor
    quantity: str
    samples: int
    rows: Tensor
    split: str
    fingerprint: str
    reading: str
    read_by: int | None
    normalised: bool = True
    told: bool = False
    few: float | None = None
    defensive: float = 0.0

    @classmethod
    def on(
        cls, name: str, values: Tensor, split: Split, *, quantity: str, samples: int, seed: int, normalised: bool = True
    ) -> Contender:
        """The values (N,) of every image of a split that was read with `seed`, in its order."""
        return cls(
            name,
            values.double(),
            quantity,
            samples,
            split.rows,
            split.name,
            split.digest().hex(),
            str(split.reading),
            seed if split.reading.random else None,
            normalised,
            split.told,
        )


ALIKE: tuple[tuple[str, Callable[[Contender], object], str], ...] = (
    ("what is compared", attrgetter("quantity"), "take the same figure of both"),
    ("whether p(x|z) is a likelihood", attrgetter("normalised"), "a cross-entropy compares with cross-entropies alone"),
    (
        "whether the model is told the label",
        attrgetter("told"),
        "nats of x given y are below those of x by what y tells of x; compare models of one kind",
    ),
    ("the reading of x", attrgetter("reading"), "nats of another base measure or of other levels are of another x"),
    ("the split", attrgetter("split"), "evaluate both on one"),
    ("how many examples", lambda one: len(one.values), "evaluate both on the same ones"),
    ("the examples (fingerprint)", lambda one: one.fingerprint[:12], "evaluate both on the same data, subset and order"),
    ("the binarisation's seed", attrgetter("read_by"), "evaluate both with the same seed"),
)
"""What must be the same: in words, as a function of a contender, and what to do."""


def check_alike(contenders: Sequence[Contender]) -> None:
    """See that the values of all contenders are nats of the same x.

    Raises:
        SettingError: fewer than two contenders or images, names that repeat, values that are not finite, any of `ALIKE`
            that differs, or other rows.
    """
    names = [one.name for one in contenders]
    if len(names) < 2:
        raise SettingError(f"{counted(len(names), 'model')} cannot be compared; give at least two")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise SettingError(f"two models are named {min(repeated)!r}; give each a name of its own")
    for one in contenders:
        if one.values.shape != one.rows.shape or len(one.values) < 2:
            shapes = f"{tuple(one.values.shape)} for {tuple(one.rows.shape)} rows"
            raise SettingError(f"{one.name} has values of shape {shapes}; give one value a row, and at least two rows")
        if bad := int((~one.values.isfinite()).sum()):
            raise SettingError(
                f"{one.name} has {bad} of {len(one.values):,} values that are not finite, which have no mean"
            )
    first = contenders[0]
    for other in contenders[1:]:
        for words, look, remedy in ALIKE:
            if look(first) != look(other):
                raise SettingError(
                    f"{first.name} and {other.name} cannot be compared, since {words} differs, {look(first)} and "
                    f"{look(other)}: {remedy}"
                )
        if not torch.equal(first.rows, other.rows):  # a binarisation is a function of its row
            raise SettingError(
                f"{first.name} and {other.name} cannot be compared, since their examples come from other rows "
                "of the source: "
                "take the same subset in the same order"
            )


def cautions(contenders: Sequence[Contender]) -> list[str]:
    """What makes values of the same x less than comparable, one sentence each."""
    found = []
    for a, b in combinations(contenders, 2):
        if a.samples != b.samples and a.quantity == WEIGHTED:
            few, many = sorted((a, b), key=attrgetter("samples"))
            found.append(
                f"{few.name} was weighed with K = {few.samples} and {many.name} with K = {many.samples}: fewer draws put "
                f"-log p(x) higher, which favours {many.name}; evaluate both with the same K"
            )
        for one in (a, b):
            if one.quantity == WEIGHTED and one.few is not None and one.few > MANY:
                found.append(
                    f"{one.few:.0%} of the estimates of {one.name} rest on few effective draws, and lie too high by "
                    "what its encoder lacks: part of a difference may be that; evaluate with more draws, "
                    f"{option('samples', 5000)}"
                )
        if a.defensive != b.defensive and a.quantity == WEIGHTED:
            found.append(
                f"a share of {a.defensive:g} of the draws of {a.name} did not come from its encoder, and one of "
                f"{b.defensive:g} of those of {b.name}: each estimate has a bias of its own; evaluate both alike"
            )
    if contenders[0].split != "test":
        found.append(
            f"these are {contenders[0].split} examples, which training fits or chooses weights by; decide on the test split"
        )
    return list(dict.fromkeys(found))


def table_of(contenders: Sequence[Contender]) -> Tensor:
    """(N, M) float64 values, a column for each contender."""
    return torch.stack([one.values.double() for one in contenders], 1)
