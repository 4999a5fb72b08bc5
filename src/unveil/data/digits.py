"""The handwritten digits embedded in scikit-learn: 1,797 real images of 8x8 pixels in 17 levels of gray."""

from __future__ import annotations

from dataclasses import replace

import torch

from unveil.data.arrays import from_arrays
from unveil.data.dataset import Dataset
from unveil.data.space import Measure

ATTRIBUTION = "Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, UCI repository, CC BY 4.0"
LEVELS = 16


def load(measure: Measure | None = None) -> Dataset:
    """1,437 training, 180 validation and 180 test images, binarised stochastically unless `measure` is 'unit'."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8)
    return replace(from_arrays(pixels, labels, "digits", measure, LEVELS), attribution=ATTRIBUTION)
