"""A space says what x is and against which measure its density counts, hence what 'nats' mean.

A number of nats without its space means nothing: a density of gray values, a probability of pixels that are 0 or 1 and a
cross-entropy are three different things. The source of the data declares a `Space`; the likelihood must fit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Measure = Literal["binary", "unit", "real"]

MEANING: dict[str, str] = {
    "binary": "0 or 1, counted",
    "unit": "gray values between 0 and 1",
    "real": "real numbers, Lebesgue measure",
}


@dataclass(frozen=True)
class Space:
    """The shape of one example and the base measure of its entries.

    Attributes:
        shape: event shape; images are (channels, height, width).
        measure: 'binary' (0 or 1), 'unit' (gray values in [0, 1]) or 'real'.
    """

    shape: tuple[int, ...]
    measure: Measure

    @property
    def size(self) -> int:
        """Numbers in one example."""
        return prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether an example can be shown as a picture: one or three channels of pixels."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3) and self.measure != "real"

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape))}, {MEANING[self.measure]}"
