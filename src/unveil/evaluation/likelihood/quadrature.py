"""-log p(x) itself as a figure, where z has one to three dimensions: what other estimates are checked against.

There is no encoder in it and no chance: the integral over z is a sum over a grid of decoded points that all images share,
and its error is known for each image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from unveil.data import Split
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.evidence import POINTS, TOLERANCE, Evidence, evidence
from unveil.models import Model
from unveil.words import number

FEW = 0.01
"""Share of images whose error may exceed the tolerance before anything is said about it."""


@dataclass(frozen=True)
class Quadrature:
    """-log p(x) by quadrature, on one split.

    Attributes:
        data: name of the data, and `split` which of its splits.
        fingerprint: SHA-256 over the values and labels that were used.
        measure: of the data's space: what the nats are nats of.
        seed: of binarisation, of the draws that the box is chosen by, and of the subset.
        nll: -log p(x). Its `estimator` is the quadrature's own error, the mean of the images' errors: these share the
            points, so that averaging is not counted on to make it smaller.
        dimensions: D of z.
        points: of the finest grid that any image needed, and `limit` how many it was allowed.
        spacing: of that grid along each dimension, in units of z; `low` and `high` are the corners of its box.
        visited: at how many points an image was looked at, the mean over images, of all grids together.
        contexts: distinct ones, for each of which grids were decoded; 1 for an unconditional model.
        tolerance: nats that an image's error was to stay below; `over` is the share of images whose error does not.
        worst: the largest error of an image, in nats.
        rounding: the part of float32 in an image's error, in nats, on average.
        seconds: how long it took.
        values: (N,) float64 of each image, what `nll` is the mean of.
    """

    data: str
    split: str
    fingerprint: str
    measure: str
    seed: int
    nll: Figure
    dimensions: int
    points: int
    limit: int
    spacing: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    visited: float
    contexts: int
    tolerance: float
    over: float
    worst: float
    rounding: float
    seconds: float
    values: Tensor = field(repr=False, compare=False)

    @classmethod
    def of(cls, found: Evidence, split: Split, data: str = "") -> Quadrature:
        """What `evidence` found for the images of `split`, as a record; `data` is their name."""
        mean = Figure.over(-found.log_p)
        return cls(
            data=data,
            split=split.name,
            fingerprint=split.digest().hex(),
            measure=split.reading.measure,
            seed=found.seed,
            nll=Figure(mean.value, mean.stderr, mean.n, estimator=float(found.error.mean())),
            dimensions=found.grid.dimensions,
            points=found.grid.points,
            limit=found.limit,
            spacing=found.grid.spacing,
            low=found.grid.low,
            high=found.grid.high,
            visited=found.visited,
            contexts=found.contexts,
            tolerance=found.tolerance,
            over=float((found.error > found.tolerance).double().mean()),
            worst=float(found.error.max()),
            rounding=float(found.rounding.mean()),
            seconds=found.seconds,
            values=-found.log_p,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json, without `values`."""
        plain = asdict(self)
        del plain["values"]
        return plain

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints: name, and value with error and unit."""
        side = round(self.points ** (1 / self.dimensions))
        grid = " x ".join([f"{side:,}"] * self.dimensions)
        step = " x ".join(number(value, 2) for value in self.spacing)
        return [
            ("-log p(x), quadrature", f"{self.nll}, its own error {number(self.nll.estimator or 0.0, 1)}"),
            (
                "examples above the tolerance",
                f"{self.over:.2%} of {number(self.tolerance)} nats; the largest error is {number(self.worst, 1)}",
            ),
            (
                "finest grid",
                f"{grid} points of z, {step} apart; {self.visited:,.0f} of all points looked at for an example",
            ),
        ]

    def advice(self) -> list[str]:
        """Plain sentences; empty where nothing is to be said."""
        if self.over <= FEW:
            return []
        if self.rounding > self.tolerance:
            return [
                f"float32 may put log p(x) of an example wrong by {number(self.rounding, 1)} nats here, which is more than "
                "the "
                f"tolerance of {number(self.tolerance)}; ask for no more than that"
            ]
        return [
            f"{self.over:.1%} of the examples have an error above {number(self.tolerance)} nats, for their posteriors are "
            "narrow "
            f"beside a spacing of {number(max(self.spacing), 2)}; allow more than {self.limit:,} points, or trust "
            "importance "
            "weighting"
        ]


def quadrature(
    model: Model,
    split: Split,
    *,
    data: str = "",
    images: int | None = None,
    seed: int = 0,
    points: int = POINTS,
    tolerance: float = TOLERANCE,
) -> Quadrature:
    """The mean of -log p(x) over a split, by quadrature over z.

    Args:
        model: with one layer of z, real vectors of one to three dimensions; its posterior may be a point.
        split: the images, each in the reading of `split.fixed(seed)`.
        data: the data's name, for the record.
        images: how many images to take, as a function of `seed`; None for all.
        seed: of everything random.
        points: of the finest grid, at most.
        tolerance: nats that each image's error is to stay below.

    Raises:
        SettingError: the integral cannot be taken, for the reasons that `evidence` gives.
    """
    chosen = split.sample(images, seed)
    return Quadrature.of(evidence(model, chosen, seed=seed, points=points, tolerance=tolerance), chosen, data)
