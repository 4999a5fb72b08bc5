"""How stored values become x: a random reading is drawn afresh, and its mean is the gray that was stored."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.data import Feed
from unveil.randomness import reseed
from unveil.verify.check import Gap, Law, NotApplicable, fact
from unveil.verify.subject import Subject

ROWS, TIMES = 30, 40
"""Examples that are read, and how often."""


def reading(subject: Subject) -> list[Gap]:
    """The mean over many readings, by the reading itself, by `fixed` and by the batches of training."""
    split = subject.data.train.subset(torch.arange(min(ROWS, len(subject.data.train))))
    measure, values = split.reading.measure, split.values[:]
    if measure not in ("binary", "unit"):
        raise NotApplicable(f"x is {measure} and read as it is stored")
    gray = split.reading.mean(values).double()
    gaps = [
        Gap(
            "stated mean of a reading, against what rises evenly with the stored values",
            _bent(gray, values),
            slack=1e-4,
            unit="",
        )
    ]
    times = TIMES * subject.effort
    feed = Feed(split, len(split), subject.seed, torch.device("cpu"))

    def fed(step: int) -> Tensor:
        reseed(subject.seed, "verify", "reading", subject.number, step)
        x: Tensor = feed.batch(step).x
        return x[feed.positions(step).argsort()]

    def read(step: int) -> Tensor:
        return split.reading(values, subject.generator("reading", step))

    offset = 1_000 * subject.number
    sources = {
        "readings": read,
        "readings that are kept for a seed": lambda step: split.fixed(offset + step),
        "readings in training": fed,
    }
    for name, source in sources.items():
        x = torch.stack([source(step) for step in range(times)]).double()
        gaps.append(fact(f"{name} lie between 0 and 1", bool(((x >= 0) & (x <= 1)).all())))
        if measure == "binary":
            gaps.append(fact(f"{name} are 0 or 1", bool(((x == 0) | (x == 1)).all())))
            wavering = (gray > 0.1) & (gray < 0.9)
            if wavering.any():
                moved = bool((x[:, wavering] != x[0, wavering]).any())
                gaps.append(fact(f"{name} are drawn afresh", moved))
        off = (x - gray).flatten(1)
        gaps.append(Gap.over(f"mean of {name}, above the stored gray", off.mean(1), 1e-4, ""))
        # what is thresholded agrees in the mean of the whole, but is too bright where it is bright
        gaps.append(Gap.over(f"slope of {name} by the stored gray, against 1", _slope(off, gray), 1e-4, ""))
    again = split.fixed(offset)
    gaps.append(fact("a reading that is kept is the same each time", torch.equal(again, split.fixed(offset))))
    return gaps


def _bent(gray: Tensor, values: Tensor) -> float:
    """How far `gray` is from a straight line over the stored values."""
    stored = values.double()
    apart = stored - stored.mean()
    slope = (apart * gray).sum() / apart.square().sum().clamp(min=1e-12)
    return float((gray - gray.mean() - slope * apart).abs().max())


def _slope(off: Tensor, gray: Tensor) -> Tensor:
    """(T,) the covariance of x - gray with gray over numbers, for each reading."""
    centred = (gray - gray.mean()).flatten()
    return (off * centred).mean(1) / centred.square().mean().clamp(min=1e-6)


LAWS = (
    Law(
        "reading",
        "The mean of a random reading is the stored gray, and each is drawn afresh: nothing is cut at a threshold.",
        reading,
        "Draw x = 1 with the probability that the gray value is, at each visit.",
    ),
)
