"""Terms that hold something at a level: a rate that need not be smaller, a distortion that must not be larger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, log

import torch
from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Loss, Term, each

UNIT = 2.0
"""Nats of excess at which the multiplier moves at three quarters of its full speed."""


class FreeBits(Term):
    r"""A rate that stops paying below a floor.

    .. math:: \sum_l \max(\lambda, \overline{\mathrm{KL}}_l)

    The bar is the mean over the batch: a layer below the floor gets no gradient, so the optimiser gains nothing by
    emptying it. Couples the batch. At least the rate, so -(distortion + this) is a bound on log p(x), if a loose one; as
    an estimate of the same with the expected KL it is biased upwards, less so in larger batches.

    Args:
        floor: nats per latent layer, at least 0.

    Returns:
        Nats per example, (B,), the same for each.

    Raises:
        SettingError: the floor is negative or not finite.

    Source: Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934.
    """

    couples = True

    def __init__(self, floor: float) -> None:
        super().__init__()
        if not 0 <= floor < inf:
            raise SettingError(f"a floor cannot be {floor} nats; give at least 0")
        self.floor = floor

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        layers = [draw.gather(draw.mean(kl)).mean().clamp(min=self.floor) for kl in draw.kl]
        return torch.stack(layers).sum().expand(len(draw.batch.x))


class Geco(Term):
    r"""The smallest `term` for which the distortion is within a tolerance, found by a Lagrange multiplier.

    .. math:: \text{term} + \lambda \, (\text{distortion} - \kappa)

    The multiplier is no weight of the optimiser's: after each step it grows by a factor while a moving average of the
    constraint is violated, and shrinks while it is met. The constraint is on the mean, not on each example.

    Losses of two epochs are not comparable while it moves: slack times a large multiplier would look like a gain. Hence at
    the end of time (t = inf, in validation) slack in a batch's mean is worth nothing, and excess at least its nats.

    The value is unbiased for the Lagrangian of the expectations at the present multiplier; it is no bound on log p(x).

    Args:
        term: what is made small, `Rate()` say.
        tolerance: kappa, nats per example.
        speed: by how much the multiplier's logarithm moves in a step at most, positive.
        memory: share that the moving average keeps in each step, at least 0 and below 1.
        dearest: the largest multiplier, above 1; its inverse is the smallest.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: a number out of its range.

    Source: Rezende & Viola 2018, Taming VAEs, arXiv:1810.00597.
    """

    log_multiplier: Tensor
    excess: Tensor

    def __init__(
        self, term: Term, tolerance: float, speed: float = 0.005, memory: float = 0.9, dearest: float = 100.0
    ) -> None:
        super().__init__()
        if not -inf < tolerance < inf:
            raise SettingError(f"a tolerance cannot be {tolerance} nats; give a finite number")
        if not 0 < speed < inf or not 0 <= memory < 1 or not 1 < dearest < inf:
            raise SettingError(
                f"a multiplier cannot move with speed {speed}, memory {memory} and largest value {dearest}; "
                "give a positive speed, a memory below 1 and a largest value above 1"
            )
        if term.gradient in ("dreg", "score"):
            raise SettingError(
                f"draws that carry gradient by '{term.gradient}' are for one term alone, and a constraint adds another; "
                "take 'pathwise' or 'sticking'"
            )
        self.term, self.tolerance, self.speed, self.memory, self.dearest = term, tolerance, speed, memory, dearest
        self.samples, self.gradient, self.couples = term.samples, term.gradient, term.couples
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("excess", torch.zeros(()))

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        excess = draw.distortion - self.tolerance
        multiplier = self.log_multiplier.exp()
        price = torch.where(t.isinf(), multiplier.clamp(min=1) * (excess.mean() > 0), multiplier)
        return each(self.term(draw, model, t), lambda loss: loss + price * excess)

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Those of the term."""
        return self.term.players(model)

    @torch.no_grad()
    def update(self, draw: Draw) -> None:
        """Move the average of the constraint, and by it the multiplier."""
        self.excess.lerp_(draw.gather(draw.distortion).mean().float() - self.tolerance, 1 - self.memory)
        # a fresh decoder is hundreds of nats away, and one step by all of them would throw the multiplier far off
        self.log_multiplier.add_(self.speed * torch.tanh(self.excess / UNIT))
        self.log_multiplier.clamp_(-log(self.dearest), log(self.dearest))
