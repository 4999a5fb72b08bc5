"""How the bytes of images become x where nobody says: as levels, or binarised where they are nearly black and white."""

from __future__ import annotations

from unveil.data.reading import Binarise, Gray, Plain, Reading
from unveil.data.space import Measure
from unveil.data.store import Stored
from unveil.errors import DataError

TWO_TONE = 0.9
"""Share of gray pixels that must lie near black or white for them to be read as binary."""
LOOKED_AT = 500
"""Images from all over that this is seen by, or a few more."""


def reading_of_images(values: Stored, measure: Measure | None, name: str) -> Reading:
    """The reading of `values` (N, C, H, W) as `measure`; None for 'levels', or 'binary' where they are two-toned.

    Raises:
        DataError: a measure that is none of images.
    """
    if measure is None:
        some = values[:: max(1, len(values) // LOOKED_AT)]
        near = ((some < 26) | (some > 229)).float().mean()
        measure = "binary" if values.shape[1] == 1 and near > TWO_TONE else "levels"
    readings: dict[str, Reading] = {"binary": Binarise(), "unit": Gray(), "levels": Plain("levels")}
    if measure not in readings:
        raise DataError(f"{name} holds images, which are read as 'binary', 'unit' or 'levels', not as {measure!r}")
    return readings[measure]
