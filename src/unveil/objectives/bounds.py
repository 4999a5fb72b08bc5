"""Bounds beside the ELBO and the importance-weighted one, all made of the same weights log w = log p(x, z) - log q(z|x).

With K draws the normalised weights of `Iwae` put nearly all their trust in the largest, and the posterior's gradient
drowns in noise as K grows. The bounds here lie between that one and the ELBO, or give encoder and decoder a bound each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, log
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unveil.errors import SettingError, unknown
from unveil.models import Draw, Gradient, Model
from unveil.objectives.importance import twice_weighted
from unveil.objectives.term import MODEL, Term

POSTERIOR = "posterior"
"""The player that the weights of q(z|x) are, where they follow another bound than the rest."""
GRADIENTS: tuple[Gradient, ...] = ("pathwise", "dreg")
NEAREST = 1e-3
"""How close to 1 the order of Rényi's bound may come: what is divided by 1 - alpha has lost its digits in float32."""


@runtime_checkable
class Amortised(Protocol):
    """A model with one layer of z, whose q(z|x) is a module of its own."""

    posterior: nn.Module


class Miwae(Term):
    r"""Minus the mean of M importance-weighted bounds of K samples each.

    .. math:: -\frac1M \sum_m \log \frac1K \sum_k w_{mk}

    Its expectation is the K-sample bound, whatever M is; M makes its gradient less noisy. M = 1 is `Iwae(K)` and K = 1 the
    ELBO. The value and both gradients are unbiased for the K-sample bound.

    Args:
        outer: M, at least 1.
        inner: K, at least 1.
        gradient: 'pathwise' or 'dreg' (doubly reparameterised).

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: M or K is below 1, another gradient, or draws that are enumerated and so have no groups.

    Source: Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better, arXiv:1802.04537.
    """

    def __init__(self, outer: int, inner: int, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        self.outer, self.inner, self.gradient = _counted(outer), _counted(inner), _known(gradient)
        self.samples = outer * inner

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        return -_grouped(draw, self.outer, self.inner, self.gradient)


class Piwae(Term):
    """The encoder follows `Miwae(M, K)`, everything else `Iwae(M K)`, by the same draws.

    A tight bound is best for the decoder, and a loose one gives the encoder a gradient that stands out from its noise.
    What is reported is the M K-sample bound; each player's gradient is unbiased for a bound of its own.

    Args:
        outer: M, at least 1.
        inner: K, at least 1.
        gradient: 'pathwise' or 'dreg' (doubly reparameterised), of the encoder.

    Returns:
        Nats per example, (B,), for each of 'model' and 'posterior'.

    Raises:
        SettingError: as for `Miwae`; or a model without one posterior, as those with several layers of z.

    Source: Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better, arXiv:1802.04537.
    """

    def __init__(self, outer: int, inner: int, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        self.outer, self.inner, self.gradient = _counted(outer), _counted(inner), _known(gradient)
        self.samples = outer * inner

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Mapping[str, Tensor]:
        if draw.posterior is None:
            raise SettingError(f"Piwae() is for models with one layer of z, and this one has {len(draw.z)}; take Miwae()")
        tight = torch.logsumexp(draw.log_w + draw.log_mass, 0)
        return {MODEL: -tight, POSTERIOR: -_grouped(draw, self.outer, self.inner, self.gradient)}

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """The weights of q(z|x)."""
        if not isinstance(model, Amortised):
            raise SettingError(f"Piwae() is for models with one encoder, and {type(model).__name__} has none; take Miwae()")
        return {POSTERIOR: model.posterior.parameters()}


class Ciwae(Term):
    r"""A mixture of the ELBO and the K-sample bound of the same draws.

    .. math:: -\beta \frac1K \sum_k \log w_k - (1 - \beta) \log \frac1K \sum_k w_k

    It is a bound on log p(x) for every beta. The value and both gradients are unbiased for its expectation.

    Args:
        samples: K, at least 1.
        beta: share of the ELBO, from 0 (`Iwae(K)`) to 1.
        gradient: 'pathwise' or 'dreg' (doubly reparameterised, which for the ELBO's share sticks the landing).

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 1, beta no share, or another gradient.

    Source: Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better, arXiv:1802.04537.
    """

    def __init__(self, samples: int, beta: float = 0.5, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise SettingError(f"the ELBO's share of a bound cannot be {beta}; give a number from 0 to 1")
        self.samples, self.beta, self.gradient = _counted(samples), beta, _known(gradient)

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        weighted = draw.log_w + draw.log_mass
        tight = torch.logsumexp(weighted, 0)
        bound = self.beta * draw.mean(draw.log_w) + (1 - self.beta) * tight
        if self.gradient != "dreg":
            return -bound
        even, by_weight = self.beta * draw.log_mass.exp(), (weighted - tight).exp()
        weights = even + (1 - self.beta) * by_weight
        # where beta is 0 and a weight underflows, nothing times anything is to stay nothing
        again = (even + (1 - self.beta) * by_weight.square()) / weights.clamp(min=torch.finfo(weights.dtype).tiny)
        return -twice_weighted(draw, bound, weights, again)


class Renyi(Term):
    r"""Minus Rényi's bound of order alpha, from K samples.

    .. math:: -\frac{1}{1 - \alpha} \log \frac1K \sum_k w_k^{1 - \alpha}

    Order 1 is the ELBO, order 0 is `Iwae(K)`, and a negative order is an upper bound on log p(x) once K is large. For
    finite K and an order other than 1 the value is biased as an estimate of Rényi's bound: its expectation is a bound that
    closes in on that one as K grows, from below where the order is less than 1. For that expectation the value and both
    gradients are unbiased.

    Args:
        samples: K, at least 1.
        alpha: the order; 1, or at least 0.001 away from it.
        gradient: 'pathwise' or 'dreg' (doubly reparameterised).

    Returns:
        Nats per example, (B,).

    Raises:
        SettingError: K is below 1, an order that is not finite or too near 1, or another gradient.

    Source: Li & Turner 2016, Rényi Divergence Variational Inference, arXiv:1602.02311.
    """

    def __init__(self, samples: int, alpha: float = 0.5, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        if not isfinite(alpha) or 0 < abs(1 - alpha) < NEAREST:
            raise SettingError(f"an order of {alpha} cannot be computed; give 1, or a number {NEAREST} away from it")
        self.samples, self.alpha, self.gradient = _counted(samples), alpha, _known(gradient)

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        log_w, mass, power = draw.log_w, draw.log_mass, 1 - self.alpha
        # around their mean: the logarithm is divided by 1 - alpha, which may be small
        mean = draw.mean(log_w)
        raised = power * (log_w - mean) + mass
        whole = torch.logsumexp(raised, 0)
        bound = mean + whole / power if power else mean
        if self.gradient != "dreg":
            return -bound
        weights = (raised - whole).exp()
        return -twice_weighted(draw, bound, weights, self.alpha + power * weights)


def _grouped(draw: Draw, outer: int, inner: int, gradient: Gradient | None) -> Tensor:
    """(B,) the mean over `outer` groups of the `inner`-sample bound."""
    log_w = draw.log_w
    if len(log_w) != outer * inner:
        raise SettingError(f"{len(log_w)} draws cannot be {outer} groups of {inner}; take Iwae() for enumerated ones")
    groups = log_w.unflatten(0, (outer, inner))
    bounds = torch.logsumexp(groups, 1, keepdim=True)
    bound = (bounds - log(inner)).mean((0, 1))
    if gradient != "dreg":
        return bound
    weights = (groups - bounds).exp().flatten(0, 1)
    return twice_weighted(draw, bound, weights / outer, weights)


def _counted(samples: int) -> int:
    if samples < 1:
        raise SettingError(f"a bound cannot have {samples} samples; give at least 1")
    return samples


def _known(gradient: Gradient) -> Gradient:
    if gradient not in GRADIENTS:
        raise unknown("gradient of this bound", gradient, GRADIENTS)
    return gradient
