"""Terms whose price or aim moves with the time t, in epochs. Validation passes t = inf: after everything has moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

import torch
from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Loss, Term, each
from unveil.words import counted


class Capacity(Term):
    r"""Keeps a rate at a capacity that rises linearly, from 0 to its full size.

    .. math:: \gamma \, |\bar R - C(t)|, \quad C(t) = C \min(1, t / T)

    The bar is the mean over the batch: what the model may tell is a budget for all examples, and easy ones leave more of
    it to the others. Couples the batch. It is no bound; as an estimate of the same with the expected rate it is biased
    upwards, less so in larger batches.

    Args:
        term: the rate, or another term that is to be kept at a level.
        capacity: C, nats, at least 0.
        epochs: T, how long the rise takes, at least 0.
        weight: gamma, nats per nat away from the capacity, positive.

    Returns:
        Nats per example, (B,), the same for each.

    Raises:
        SettingError: a number out of its range.

    Source: Burgess et al. 2018, Understanding Disentangling in beta-VAE, arXiv:1804.03599.
    """

    couples = True

    def __init__(self, term: Term, capacity: float, epochs: float, weight: float = 1000.0) -> None:
        super().__init__()
        if not 0 <= capacity < inf or not 0 <= epochs < inf or not 0 < weight < inf:
            raise SettingError(
                f"a capacity of {capacity} nats reached in {counted(epochs, 'epoch')} under weight {weight} cannot be "
                "held; "
                "give capacity and epochs of at least 0 and a positive weight"
            )
        self.term, self.capacity, self.epochs, self.weight = term, capacity, epochs, weight
        self.samples, self.gradient = term.samples, term.gradient

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        share = (t / self.epochs).clamp(max=1) if self.epochs else torch.ones_like(t)
        aim = self.capacity * share

        def away(loss: Tensor) -> Tensor:
            return self.weight * (draw.gather(loss).mean() - aim).abs().expand_as(loss)

        return each(self.term(draw, model, t), away)

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Those of the term."""
        return self.term.players(model)
