"""A space says what x is and against which measure its density counts, hence what 'nats' mean.

A number of nats without its space means nothing: a density of gray values, a probability of pixels that are 0 or 1 and a
cross-entropy are three different things. The source of the data declares a `Space`; the likelihood must fit it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Literal

from unveil.errors import DataError
from unveil.words import counted

Measure = Literal["binary", "unit", "real", "levels", "count", "columns"]

MEANING: dict[str, str] = {
    "binary": "0 or 1, counted",
    "unit": "gray values between 0 and 1",
    "real": "real numbers, Lebesgue measure",
    "levels": "integers from 0 to {most}, counted",
    "count": "integers from 0, counted",
    "columns": "columns of a table, each with a measure of its own",
}
"""What each measure says of x, in words; `Space.meaning` fills in the largest of the levels."""


@dataclass(frozen=True)
class Space:
    """The shape of one example and the base measure of its entries.

    Attributes:
        shape: event shape; images are (channels, height, width).
        measure: 'binary' (0 or 1), 'unit' (gray values in [0, 1]), 'real', 'levels' (0..L-1), 'count' or 'columns'.
        levels: L, where they are levels.
        columns: the kind of each column, as 'real', 'positive', 'count', 'ordinal:5' or 'categorical:3', where they are.
    """

    shape: tuple[int, ...]
    measure: Measure
    levels: int = 256
    columns: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Numbers in one example."""
        return prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether an example can be shown as a picture: one or three channels of pixels."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3) and self.measure in ("binary", "unit", "levels")

    @property
    def white(self) -> float:
        """The x of a white pixel: what to divide an image by before it is shown."""
        return self.levels - 1.0 if self.measure == "levels" else 1.0

    def __str__(self) -> str:
        if self.columns:
            often = Counter(kind.partition(":")[0] for kind in self.columns)
            return (
                f"{counted(len(self.columns), 'column')} of a table: "
                f"{', '.join(f'{count} {kind}' for kind, count in often.items())}"
            )
        return f"{'x'.join(map(str, self.shape))}, {self.meaning}"

    @property
    def meaning(self) -> str:
        """What its measure says of x, in words."""
        return MEANING[self.measure].format(most=self.levels - 1)


def check_channels(shape: tuple[int, ...], name: str) -> None:
    """DataError where examples (N, H, W, C) look like images whose channels come last, which would be read as C wide."""
    if len(shape) == 4 and min(shape[1:3]) > 3 and shape[3] in (1, 3):
        _, height, width, channels = shape
        raise DataError(
            f"{name} has shape {tuple(shape)}, which looks like images of {height} x {width} x {channels}; channels come "
            f"first: transpose to (N, {channels}, {height}, {width}), array.transpose(0, 3, 1, 2)"
        )
