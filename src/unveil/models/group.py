"""One rung of a ladder of latent variables: a prior given the layers above, and a posterior as a change of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unveil.distributions import DiagonalGaussian
from unveil.part import Part
from unveil.parts import bounded

SPREAD = 5.0
"""Log-scales of a layer's prior lie between -SPREAD and SPREAD, and so do their changes by the posterior."""
SHIFT = 1e3
"""A posterior's mean lies within so many standard deviations of the prior's: one further off costs half a million nats."""


class Group(Part):
    r"""One layer below the first, z_g with p(z_g | z_<g) and q(z_g | z_<g, x).

    .. math:: p = N(\mu, \sigma^2), \quad q = N(\mu + \sigma \Delta\mu, (\sigma \Delta\sigma)^2)

    The networks see the state s (N, S, ...), and z_g (N, Z, ...) has as many dimensions as the state. Where the posterior's
    network begins at zero, so does the layer's rate: a deep stack starts as a shallow one.

    Args:
        prior: s to mu and log sigma, (N, 2 Z, ...).
        posterior: s and the features of x to Delta mu and log Delta sigma, (N, 2 Z, ...).
        merge: s and z_g to what is added to s.
        enter: the state above to one of this layer's shape; None where it has that already.

    Source: Vahdat & Kautz 2020, NVAE, arXiv:2007.03898 (the residual posterior, here in units of sigma); Child 2021, Very
    Deep VAEs, arXiv:2011.10650.
    """

    def __init__(self, prior: nn.Module, posterior: nn.Module, merge: nn.Module, enter: nn.Module | None = None) -> None:
        super().__init__()
        self.prior, self.posterior, self.merge, self.enter = prior, posterior, merge, enter

    def forward(self, state: Tensor) -> tuple[Tensor, DiagonalGaussian]:
        """The state at this layer, and p(z_g | z_<g) from it."""
        state = state if self.enter is None else self.enter(state)
        mean, log_scale = self.prior(state).float().chunk(2, 1)
        return state, DiagonalGaussian(mean, bounded(log_scale, SPREAD), state.dim() - 1)

    def infer(self, state: Tensor, features: Tensor, prior: DiagonalGaussian) -> DiagonalGaussian:
        """q(z_g | z_<g, x)."""
        shift, change = self.posterior(state, features).float().chunk(2, 1)
        loc = torch.addcmul(prior.loc, prior.scale, bounded(shift, SHIFT))
        return DiagonalGaussian(loc, prior.log_scale + bounded(change, SPREAD), prior.event_dims)

    def leave(self, state: Tensor, z: Tensor) -> Tensor:
        """The state that knows z_g as well."""
        below: Tensor = state + self.merge(state, z)
        return below
