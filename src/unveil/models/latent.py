"""Values of z from q(z|x), and how they carry gradient: the first half of a gradient estimator.

Some posteriors can do more than a plain distribution: tell the density of their own draw without inverting anything, cut
their parameters out of it, or improve themselves by the joint density. Each such ability is a protocol here; models ask
for an ability, never for a class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from unveil.distributions import Delta, surface_of
from unveil.errors import SettingError

Gradient = Literal["pathwise", "sticking", "dreg", "score"]
"""How z depends on the posterior's parameters.

'pathwise': z is reparameterised, and log q(z|x) carries the gradient of its parameters as well.
'sticking': z is reparameterised, and log q(z|x) reads its parameters as constants, which leaves the gradient of a bound
unbiased and takes away its variance where q is exact ('sticking the landing').
'dreg': the same draw; the importance weights enter the gradient a second time, which is the objective's half.
'score': z carries no gradient; the objective takes it from log q(z|x).

Source: Roeder et al. 2017, Sticking the Landing, arXiv:1703.09194.
"""


@runtime_checkable
class Traced(Protocol):
    """Knows the density of its own draw: a flow need not be inverted for it, a chain has it nowhere else."""

    def rsample_and_log_prob(self, shape: Any = ()) -> tuple[Tensor, Tensor]:
        """z (*shape, *batch, *event) and log q (*shape, *batch) of this very z."""
        ...


@runtime_checkable
class Detachable(Protocol):
    """Has reparameterised draws, none that pass a gradient straight through, and can be had with constant parameters."""

    def detach(self) -> Distribution:
        """The same distribution; no gradient reaches its parameters."""
        ...


@runtime_checkable
class Refinable(Protocol):
    """Becomes a better posterior when it knows the joint density."""

    def refine(self, log_joint: Callable[[Tensor], Tensor]) -> Distribution:
        """The better one, given log p(x, z) (K, B) as a function of z (K, B, *latent)."""
        ...


def latent(posterior: Distribution, samples: int, gradient: Gradient) -> tuple[Tensor, Callable[[], Tensor]]:
    """z (K, B, *latent) and what gives log q(z|x) (K, B).

    Raises:
        SettingError: this posterior cannot carry that gradient.
    """
    shape, name = torch.Size([samples]), type(posterior).__name__
    if gradient == "score":
        z = posterior.sample(shape)
        return z, lambda: posterior.log_prob(z)
    if not posterior.has_rsample:
        raise SettingError(f"draws of {name} carry no gradient; train it by ScoreFunction(), or relax the posterior")
    if gradient in ("sticking", "dreg"):
        if not isinstance(posterior, Detachable):
            raise SettingError(
                f"{name} cannot stick the landing: its draws carry no exact gradient, or no detach(); take 'pathwise'"
            )
        z, fixed = posterior.rsample(shape), posterior.detach()
        return z, lambda: fixed.log_prob(z)
    if isinstance(posterior, Traced):
        traced, log_q = posterior.rsample_and_log_prob(shape)
        return traced, lambda: log_q
    z = posterior.rsample(shape)
    return z, lambda: posterior.log_prob(z)


def check_comparable(posterior: Distribution, prior: Distribution) -> None:
    """See that log q - log p is a rate: that both are densities with respect to the same measure.

    Raises:
        SettingError: one is curved or counted and the other is not, or not in the same way.
    """
    if surface_of(posterior) != surface_of(prior) and not isinstance(posterior, Delta):
        raise SettingError(
            f"there is no rate of {type(posterior).__name__} under {type(prior).__name__}: their densities are with "
            "respect to different measures; take UniformSphere() with VonMisesFisher(), and PoincareNormal() with "
            "WrappedNormal() of the same curvature, and a prior over codes or classes where z is made of them"
        )


def divergence(posterior: Distribution, prior: Distribution) -> Tensor | None:
    """(B,) KL(q || p) in closed form; None where torch knows none."""
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None
