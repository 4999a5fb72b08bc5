"""How the bytes of images become x where nobody says: as levels, or binarised where they are nearly black and white."""

from __future__ import annotations

import numpy as np

from unveil.data.reading import Binarise, Gray, Plain, Reading
from unveil.data.space import Measure
from unveil.errors import DataError

TWO_TONE = 0.9
"""Share of gray pixels that must lie near black or white for them to be read as binary."""
LOOKED_AT = 500
"""Images from all over that this is seen by, or a few more."""


def two_toned(values: np.ndarray) -> float:
    """Share of the bytes `values` that are nearly black or white."""
    return float(((values < 26) | (values > 229)).mean())


def reading_of_images(channels: int, near: float, measure: Measure | None, name: str) -> Reading:
    """The reading of images as `measure`; None for 'levels', or 'binary' for gray ones that are two-toned.

    Args:
        channels: 1 or 3.
        near: `two_toned` of some of them.
        measure: what was asked for.
        name: what messages call the data.

    Raises:
        DataError: a measure that is none of images.
    """
    if measure is None:
        measure = "binary" if channels == 1 and near > TWO_TONE else "levels"
    readings: dict[str, Reading] = {"binary": Binarise(), "unit": Gray(), "levels": Plain("levels")}
    if measure not in readings:
        raise DataError(f"{name} holds images, which are read as 'binary', 'unit' or 'levels', not as {measure!r}")
    return readings[measure]


def every(count: int) -> int:
    """Every which of so many images is looked at for that."""
    return max(1, count // LOOKED_AT)
