"""What a model says of each example in nats, by the best estimate that it has, and the name of that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.data import Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.likelihood.contender import WEIGHTED
from unveil.evaluation.likelihood.drawing import blocks
from unveil.evaluation.likelihood.weigh import weights
from unveil.evaluation.names import cost_name
from unveil.models import Model

KINDS = ("distortion", "rate", "log_p", "rated", "covers")


@dataclass(frozen=True)
class Measured:
    """One number for each example of a split.

    Attributes:
        split: the examples.
        seed: that they were read with.
        quantity: '-log p(x)' by importance weights; '-ELBO' where the posterior does not cover all z, so that weights
            tell of a bound alone; 'distortion' where it has no density. Where p(x|z) is no likelihood,
            'cross-entropy + rate' or 'cross-entropy'.
        nats: (N,) float64, smaller where the model finds an example more probable.
    """

    split: Split
    seed: int
    quantity: str
    nats: Tensor


def measure(model: Model, split: Split, *, samples: int, seed: int, purpose: str) -> Measured:
    """The nats of every example, from one reading and K draws of z each, in float32 and log space.

    exp(-nats) of an importance-weighted estimate is unbiased for p(x): the nats are biased upwards, less so as K grows.

    Args:
        model: what makes draws.
        split: the examples.
        samples: K, at least 1.
        seed: of binarisation and noise.
        purpose: what the noise is for: splits measured for different purposes share none.

    Raises:
        SettingError: K is below 1, or no examples.
    """
    if samples < 1:
        raise SettingError(f"an estimate cannot have {samples} samples; give at least 1")
    if not len(split):
        raise SettingError(f"there is nothing to score in the {split.name} split; give at least one example")
    device = next(iter(model.parameters())).device
    with in_evaluation(model), torch.no_grad():
        found = [
            weights(model, batch, samples, seed, purpose, place) for place, batch in blocks(split, samples, seed, device)
        ]
    return Measured(split, seed, *best(model, {name: torch.cat([part[name] for part in found]) for name in KINDS}))


def best(model: Model, found: dict[str, Tensor]) -> tuple[str, Tensor]:
    """The best that can be said of examples by what `weights` found, by its name, and (N,) nats."""
    if not bool(found["rated"].all()):
        return cost_name(model.normalised, rated=False), found["distortion"]
    if not model.normalised or not bool(found["covers"].all()):
        return cost_name(model.normalised), found["distortion"] + found["rate"]
    return WEIGHTED, -found["log_p"]
