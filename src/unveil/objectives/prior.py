"""What the prior alone is trained on where the rate is infinite."""

from __future__ import annotations

from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


class NegativeLogPrior(Term):
    r"""Minus the prior's log-density at the draws.

    .. math:: -E_{q(z|x)} \log p(z)

    For a fixed posterior with a density it differs from the rate by a constant; under a Delta posterior, where the rate is
    infinite, it is the cross-entropy of the encodings, and no part of a bound on log p(x). A posterior that is trained on
    it as well shrinks to where p(z) is largest. Value and pathwise gradient are unbiased.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: a model with several layers of z.
    """

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        if draw.prior is None:
            raise SettingError("this model has several layers of z and no prior by itself; train it on Rate()")
        return -draw.mean(draw.prior.log_prob(draw.z[0]))
