"""Where in x the nats are lost: the distortion of each entry, beside what the model expects it to be.

Under a likelihood of independent entries log p(x|z) is a sum over them, so that the distortion has a map. Where the model
is unsure, as at the edges of a stroke, every x costs nats; surprising is a cost above the entropy that p(x|z) has there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from unveil.data import Batch, Split
from unveil.errors import SettingError
from unveil.evaluation.bound import in_evaluation
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.drawing import blocks, chunks
from unveil.models import Draw, Model
from unveil.objectives.decomposition import Factorised

TRIES = 8
"""Draws of x for each of z, where the entropy of p(x|z) has no closed form."""
LOUD = 4.0
"""A mean excess of so many standard errors is said."""


@runtime_checkable
class Expectant(Protocol):
    """A distribution of independent variables that knows the entropy of each."""

    def entropies(self) -> Tensor:
        """(*batch, *event) nats of each variable; NotImplementedError where there is no closed form."""
        ...


def log_probs(output: Distribution, x: Tensor) -> Tensor:
    """(*batch, *event) log p of each entry of x, whose sum over the event is `output.log_prob(x)`.

    Raises:
        SettingError: entries that depend on each other.
    """
    if isinstance(output, Independent):
        return log_probs(output.base_dist, x)
    if not output.event_shape:
        return output.log_prob(x)
    if isinstance(output, Factorised):
        return output.log_probs(x)
    raise SettingError(
        f"there is no map of {type(output).__name__}, whose entries depend on each other; take one of independent entries"
    )


def entropies(output: Distribution) -> Tensor | None:
    """(*batch, *event) entropy of each entry, E[-log p(x_d|z)] under the model; None where it has no closed form."""
    if isinstance(output, Independent):
        return entropies(output.base_dist)
    try:
        if not output.event_shape:
            return output.entropy()
        return output.entropies() if isinstance(output, Expectant) else None
    except NotImplementedError:
        return None


@dataclass(frozen=True)
class Surprise:
    """Maps of a split, in nats.

    Attributes:
        row: (N,) int64, each image's row in its source.
        cost: (N, *event) float32 E_q[-log p(x_d|z)] of each entry, the mean over K draws; the sum over an image is the
            distortion of the same draws.
        expected: (N, *event) float32 E_q of the entropy of p(x_d|z); where that has no closed form the mean cost of `TRIES`
            draws of x ~ p(x|z) for each z instead, which is unbiased for it.
        split: name of the split, `samples` K and `seed` that of binarisation and noise.
    """

    row: Tensor
    cost: Tensor
    expected: Tensor
    split: str
    samples: int
    seed: int

    @property
    def distortion(self) -> Tensor:
        """(N,) float64 -log p(x|z), the mean over K draws."""
        return self.cost.double().flatten(1).sum(1)

    @property
    def excess(self) -> Tensor:
        """(N, *event) cost - expected: above zero where an entry surprises, below where it is more usual than most.

        Its mean over x ~ p(x|z) is zero at every z.
        """
        return self.cost - self.expected

    def _total(self) -> Figure:
        return Figure.over(self.excess.double().flatten(1).sum(1))

    def table(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        distortion = (f"distortion of {self.split}, K = {self.samples}", str(Figure.over(self.distortion)))
        return [distortion, ("  above its expectation", str(self._total()))]

    def advice(self) -> list[str]:
        """Whether x surprise the model on the whole."""
        total = self._total()
        if not abs(total.value) > LOUD * total.stderr:
            return []
        if total.value > 0:
            return [
                f"these x cost {total.value:,.1f} nats more than p(x|z) expects: it is too sure of itself, or they are "
                "unlike what it was trained on"
            ]
        return [f"these x cost {-total.value:,.1f} nats less than p(x|z) expects: it is less sure than it could be"]


def surprise(model: Model, split: Split, *, samples: int = 16, seed: int = 0) -> Surprise:
    """The maps of every image of a split; all are held at once, so hand over those that are to be looked at.

    Every image is read once, as `score` with the same seed reads it. Unbiased for the expectation under q(z|x), whose noise
    falls as 1 / sqrt(K).

    Args:
        model: what makes draws.
        split: the images.
        samples: K, at least 1.
        seed: of binarisation and noise.

    Raises:
        SettingError: K is below 1, or a likelihood whose entries depend on each other.
    """
    if samples < 1:
        raise SettingError(f"a map cannot have {samples} samples; give at least 1")
    device = next(iter(model.parameters())).device
    with in_evaluation(model), torch.no_grad():
        maps = [
            _maps(model, batch, samples, (seed, "surprise", place)) for place, batch in blocks(split, samples, seed, device)
        ]
    return Surprise(
        row=split.rows,
        cost=torch.cat([cost for cost, _ in maps]),
        expected=torch.cat([expected for _, expected in maps]),
        split=split.name,
        samples=samples,
        seed=seed,
    )


def _maps(model: Model, batch: Batch, samples: int, purpose: tuple[int | str, ...]) -> tuple[Tensor, Tensor]:
    """(B, *event) the cost of each entry, and its expectation."""
    cost, expected = torch.zeros_like(batch.x), torch.zeros_like(batch.x)
    for count, draw in chunks(model, batch, samples, *purpose):
        share = count / samples
        cost -= share * _mean(draw, log_probs(draw.output, batch.x))
        entropy = entropies(draw.output)
        if entropy is None:
            entropy = torch.stack([-log_probs(draw.output, draw.output.sample()) for _ in range(TRIES)]).mean(0)
        expected += share * _mean(draw, entropy).masked_fill(~batch.observed, 0.0)
    return cost.cpu(), expected.cpu()


def _mean(draw: Draw, values: Tensor) -> Tensor:
    """(B, *event) the mean of `values` (K, B, *event) over draws, each counted by its mass."""
    mass = draw.log_mass.exp()
    return (mass.reshape(*mass.shape, *[1] * (values.dim() - 2)) * values).sum(0)
