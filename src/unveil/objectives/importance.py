"""The importance-weighted bound, which closes in on log p(x) as K grows, and how its weights enter the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Gradient, Model
from unveil.objectives.term import Term


class Iwae(Term):
    r"""Minus the K-sample importance-weighted bound.

    .. math:: -\log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)

    At K = 1 it is a one-sample estimate of -ELBO. exp(-value) is unbiased for p(x); the value itself is biased upwards
    as an estimate of -log p(x), less so as K grows. The value is unbiased for the K-sample bound, and so are the gradients
    'pathwise' and 'dreg'. 'sticking' is biased for K > 1, and at K = 1 unbiased with less variance.

    Args:
        samples: K, at least 1.
        gradient: 'pathwise', 'sticking', or 'dreg' (doubly reparameterised, whose signal does not fade as K grows).

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 1, or a doubly reparameterised gradient through more than one layer of z.

    Source: Burda et al. 2016, Importance Weighted Autoencoders, arXiv:1509.00519; Tucker et al. 2019, Doubly
    Reparameterized Gradient Estimators, arXiv:1810.04152.
    """

    def __init__(self, samples: int, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        if samples < 1:
            raise SettingError(f"a bound cannot have {samples} samples; give at least 1")
        self.samples, self.gradient = samples, gradient

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        log_w = draw.log_w + draw.log_mass
        bound = torch.logsumexp(log_w, 0)
        return -(doubly_reparameterised(draw, log_w, bound) if self.gradient == "dreg" else bound)


def doubly_reparameterised(draw: Draw, log_w: Tensor, bound: Tensor) -> Tensor:
    """(B,) `bound` with the gradient sum w dlog w for the model and sum w^2 dlog w through z, w = exp(log_w - bound).

    Source: Tucker et al. 2019, arXiv:1810.04152, equations 7 and 8.
    """
    if len(draw.z) > 1:
        raise SettingError("the doubly reparameterised gradient is for one layer of z; take 'pathwise' for several")
    (z,) = draw.z
    weights = (log_w - bound).exp().detach()
    if z.requires_grad:
        # z meets the weights a second time on the gradient's way back to the posterior, and only there
        z.register_hook(lambda grad: grad * weights.reshape(*weights.shape, *[1] * (z.dim() - 2)))
    surrogate = (weights * log_w).sum(0)
    return bound.detach() + surrogate - surrogate.detach()
