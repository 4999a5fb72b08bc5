"""A small network that knows handwritten digits, trained by `bench/classifier.py` on MNIST and shipped with the package.

What it sees in an image before it decides, `features`, is what samples and data are compared by; what it decides tells
whether a conditional model makes the class that it was asked for. It is for images like MNIST's, of 28x28 pixels, and
reads gray and binarised ones alike. `classifier.json` beside the weights says how they were made and how good they are.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.errors import DataError

SHAPE = (1, 28, 28)
CLASSES = 10
FEATURES = 64
CHANNELS = (1, 16, 32, 64)
FOLDER = Path(__file__).parent
FACTS, WEIGHTS = "classifier.json", "classifier.safetensors"
CHUNK = 1_000
"""Images looked at in one go: their channels take 50 MB."""


class DigitClassifier(nn.Module):
    """28x28 images to the logits of ten digits: three convolutions, each with a pooling, and a layer of features.

    The weights are scaled so that a feature's variance is 1 on average over the features and MNIST's training images,
    which gives distances between features a unit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(CHANNELS))
        self.hidden = nn.Linear(CHANNELS[-1] * 3 * 3, FEATURES)
        self.last = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """(N, 64) what the last layer reads, none below zero, for x (N, 1, 28, 28) with black 0 and white 1."""
        for layer in self.convolutions:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 10) logits."""
        logits: Tensor = self.last(self.features(x))
        return logits


@torch.no_grad()
def look(classifier: DigitClassifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 64) features and (N,) int64 labels of x (N, 1, 28, 28) in [0, 1], a thousand images at a time."""
    features = torch.cat([classifier.features(part) for part in x.split(CHUNK)])
    return features, classifier.last(features).argmax(1)


def facts(folder: Path = FOLDER) -> dict[str, Any]:
    """How the weights in `folder` were made, and how good they are: what classifier.json says.

    Raises:
        DataError: it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / FACTS} cannot be read ({str(error)[:80]}); install the package anew") from None
    return found


def shipped(folder: Path = FOLDER) -> DigitClassifier:
    """The classifier whose weights lie in `folder`, at rest, in float32 on the CPU.

    Raises:
        DataError: no weights, or not those whose SHA-256 classifier.json states.
    """
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; install the package anew") from None
    stated = facts(folder).get("sha256")
    if hashlib.sha256(content).hexdigest() != stated:
        raise DataError(f"{path} is damaged: its SHA-256 is not the one that {FACTS} states; install the package anew")
    classifier = DigitClassifier()
    try:
        classifier.load_state_dict({name: tensor.float() for name, tensor in safetensors.torch.load(content).items()})
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise DataError(f"{path} does not hold this classifier's weights: {str(error)[:100]}") from None
    return classifier.requires_grad_(False).eval()
