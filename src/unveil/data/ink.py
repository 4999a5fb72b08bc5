"""Whether images are strokes on a ground, which a page shows as ink, or pictures, which are shown as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unveil.data.dataset import Dataset

LOOKED_AT = 500
"""Images from all over by which this is seen, or a few more."""
NEAR = 0.1
"""How far from black or white a pixel may be that still counts as such."""
HALF = 0.5


def is_ink(data: Dataset) -> bool:
    """Whether pictures of these images are dark where x is large: pixels that are 0 or 1, as MNIST's are.

    They are of one channel, binarised, mostly near black or white as they are stored, and more of them black. Photographs
    that were asked to be read as binary are no ink, and neither is what lies dark on light already.
    """
    if not data.space.is_image or data.space.measure != "binary" or data.space.shape[0] != 1:
        return False
    split = data.train
    gray = split.reading.mean(split.values[:: max(1, len(split) // LOOKED_AT)])
    near = ((gray < NEAR) | (gray > 1 - NEAR)).double().mean()
    return bool(near > HALF and gray.mean() < HALF)


def was_ink(facts: Mapping[str, Any]) -> bool:
    """The same of data that a manifest tells of; older ones do not say, and their binary images were drawn as ink."""
    older = facts["measure"] == "binary" and facts["shape"][:1] == [1]
    return bool(facts.get("ink", older))
