"""The importance-weighted bound, which closes in on log p(x) as K grows, and how its weights enter the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.errors import SettingError, unknown
from unveil.models import Draw, Gradient, Model
from unveil.objectives.term import Term

GRADIENTS: tuple[Gradient, ...] = ("pathwise", "sticking", "dreg")


class Iwae(Term):
    r"""Minus the K-sample importance-weighted bound.

    .. math:: -\log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)

    At K = 1 it is a one-sample estimate of -ELBO. exp(-value) is unbiased for p(x) where q covers all z; the value itself
    is biased upwards as an estimate of -log p(x), less so as K grows. The value is unbiased for the K-sample bound, and so
    are the gradients 'pathwise' and 'dreg' where z is reparameterised. 'sticking' is biased for K > 1, and at K = 1
    unbiased with less variance.

    Args:
        samples: K, at least 1.
        gradient: 'pathwise', 'sticking', or 'dreg' (doubly reparameterised, whose signal does not fade as K grows).

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 1, the score function's gradient, or a doubly reparameterised one through more than one
            layer of z.

    Example:
        >>> import unveil
        >>> from unveil.objectives import Iwae
        >>> from unveil.recipes import recipe
        >>> data = unveil.load("digits")
        >>> model, _ = recipe("vae").compose(data)
        >>> run = unveil.train(data, model=model, objective=Iwae(5), epochs=1, out="runs/weighted")
        >>> run.evaluate(samples=20, images=50).nll.n
        50

    Source: Burda et al. 2016, Importance Weighted Autoencoders, arXiv:1509.00519; Tucker et al. 2019, Doubly
    Reparameterized Gradient Estimators, arXiv:1810.04152.
    """

    def __init__(self, samples: int, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        if samples < 1:
            raise SettingError(f"a bound cannot have {samples} samples; give at least 1")
        if gradient not in GRADIENTS:
            raise unknown("gradient", gradient, GRADIENTS)
        self.samples, self.gradient = samples, gradient

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        log_w = draw.log_w + draw.log_mass
        bound = torch.logsumexp(log_w, 0)
        if self.gradient != "dreg":
            return -bound
        weights = (log_w - bound).exp()
        return -twice_weighted(draw, bound, weights, weights)


def twice_weighted(draw: Draw, bound: Tensor, weights: Tensor, again: Tensor) -> Tensor:
    r"""(B,) `bound`, whose gradient is sum_k weights_k dlog w_k, and through z sum_k again_k weights_k dlog w_k.

    With log q read at constant parameters, the score of q is missing from the gradient. Its part has the expectation of
    a second path through z: if v_k is the bound's derivative in log w_k and v_k' that of v_k, then z is due v_k - v_k',
    which is v_k times `again`.

    Source: Tucker et al. 2019, Doubly Reparameterized Gradient Estimators, arXiv:1810.04152.
    """
    if len(draw.z) > 1:
        raise SettingError("the doubly reparameterised gradient is for one layer of z; take 'pathwise' for several")
    (z,) = draw.z
    weights, again = weights.detach(), again.detach()
    if z.requires_grad:
        z.register_hook(lambda grad: grad * again.reshape(*again.shape, *[1] * (z.dim() - 2)))
    surrogate = (weights * draw.log_w).sum(0)
    # the value is the bound; the surrogate gives its gradient alone
    return bound.detach() + surrogate - surrogate.detach()
