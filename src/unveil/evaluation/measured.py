"""What a model says of each example in nats, by the best estimate that it has, and the name of that."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from unveil.data import Batch, Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.contender import WEIGHTED
from unveil.evaluation.drawing import blocks, chunks
from unveil.models import Draw, Model


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
            _measured(model, batch, samples, (seed, purpose, place))
            for place, batch in enumerate(blocks(split, samples, seed, device))
        ]
    return Measured(split, seed, found[0][0], torch.cat([nats for _, nats in found]))


def _measured(model: Model, batch: Batch, samples: int, purpose: tuple[int | str, ...]) -> tuple[str, Tensor]:
    """The quantity, and (B,) nats."""
    quantity = ""
    cost = torch.zeros(len(batch.index), dtype=torch.float64)
    log_p = torch.full_like(cost, -torch.inf)  # in log space: weights near exp(-100) underflow float32
    for count, draw in chunks(model, batch, samples, *purpose):
        quantity = _quantity(model, draw)
        if quantity == WEIGHTED:
            # undo the -log of the chunk's size that is part of the mass, for a mean over all chunks
            log_w = (draw.log_w + draw.log_mass).cpu().double() + log(count / samples)
            log_p = torch.logaddexp(log_p, log_w.logsumexp(0))
        else:
            each = draw.distortion + draw.rate if draw.rated else draw.distortion
            cost += each.cpu().double() * (count / samples)
    return quantity, -log_p if quantity == WEIGHTED else cost


def _quantity(model: Model, draw: Draw) -> str:
    if not draw.rated:
        return "distortion" if model.normalised else "cross-entropy"
    if not model.normalised:
        return "cross-entropy + rate"
    return WEIGHTED if draw.covers else "-ELBO"
