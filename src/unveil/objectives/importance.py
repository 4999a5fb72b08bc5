"""The importance-weighted bound, which closes in on log p(x) as K grows."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


class Iwae(Term):
    r"""Minus the K-sample importance-weighted bound.

    .. math:: -\log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)

    At K = 1 it is a one-sample estimate of -ELBO. exp(-value) is unbiased for p(x); the value itself is biased upwards
    as an estimate of -log p(x), less so as K grows. Value and pathwise gradient are unbiased for the K-sample bound.

    Args:
        samples: K, at least 1.

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 1.

    Source: Burda et al. 2016, Importance Weighted Autoencoders, arXiv:1509.00519.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        if samples < 1:
            raise SettingError(f"a bound cannot have {samples} samples; give at least 1")
        self.samples = samples

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        return -torch.logsumexp(draw.log_w + draw.log_mass, 0)
