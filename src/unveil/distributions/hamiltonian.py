r"""Posteriors that follow the gradient of the joint density: Hamiltonian dynamics from a draw of a simpler one.

A draw z_0 of the base gets a momentum rho, and both move for a few leapfrog steps on the energy -log p(x, z) - log
p(rho|z), cooled on the way. The map from start to end is invertible and the log-determinant of its Jacobian is known, so
that (z, rho) at the end has a density. With the momentum's own density p(rho|z) as part of the target,

.. math:: \log w = \log p(x, z_K) + \log p(\rho_K|z_K) - \log q(z_0|x) - \log p(\gamma|z_0) + \log |\det J|

is an importance weight on the extended space, whose mean is p(x). All but log p(x, z_K) is what is called log_q here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.distributions.surface import surface_of
from unveil.errors import SettingError

FORCE = 1e3
"""Norm that a gradient of the log-density does not pass."""


class Momentum(Protocol):
    """How the momentum is distributed given z, and how both move in a step; each move with its log-determinant."""

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """rho ~ p(rho|z) like z, and log p(rho|z) (*lead)."""
        ...

    def log_prob(self, z: Tensor, rho: Tensor) -> Tensor:
        """(*lead) log p(rho|z)."""
        ...

    def volume(self, z: Tensor) -> Tensor | float:
        """(*lead) what the normaliser of p(rho|z) adds to log p(x, z) in the energy."""
        ...

    def kick(self, z: Tensor, rho: Tensor, force: Tensor, size: Tensor) -> tuple[Tensor, Tensor | float]:
        """rho after the first half of a step, under the force at z."""
        ...

    def drift(self, z: Tensor, rho: Tensor, size: Tensor) -> tuple[Tensor, Tensor | float]:
        """z after a step."""
        ...

    def settle(self, z: Tensor, rho: Tensor, force: Tensor, size: Tensor) -> tuple[Tensor, Tensor | float]:
        """rho after the second half."""
        ...


class Hamiltonian(Distribution):
    """A base posterior that can be refined once the joint density is known; until then it is the base.

    Args:
        base: q(z_0|x), with reparameterised samples.
        momentum: how it moves.
        sizes: (S, *event) step sizes.
        cooling: a scalar in (0, 1), the root of the inverse temperature at the start; the square is called beta_0.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, base: Distribution, momentum: Momentum, sizes: Tensor, cooling: Tensor) -> None:
        if surface_of(base) is not None:
            raise SettingError(f"z moves through flat space here, and {type(base).__name__} is not of one; take Gaussian()")
        self.base, self.momentum, self.sizes, self.cooling = base, momentum, sizes, cooling
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.base.mean

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.base.stddev

    @property
    def variance(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.base.variance

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event) of the base."""
        return self.base.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) of the base."""
        density: Tensor = self.base.log_prob(value)
        return density

    def refine(self, log_joint: Callable[[Tensor], Tensor]) -> Refined:
        """The same with its draws moved along log p(x, z)."""
        return Refined(self, log_joint)


class Refined(Distribution):
    r"""Draws of the base after S leapfrog steps on the joint density, with quadratic cooling.

    .. math:: \rho_0 = \gamma / \sqrt{\beta_0}, \quad \rho_s \leftarrow \rho_s \sqrt{\beta_{s-1} / \beta_s}, \quad
        1 / \sqrt{\beta_s} = (1 - 1 / \sqrt{\beta_0}) (s / S)^2 + 1 / \sqrt{\beta_0}

    The factors multiply to one, and so do their determinants: beta_0^(-D/2) of the first, beta_0^(D/2) of the rest.
    `rsample_and_log_prob` gives with z the log_q for which log p(x, z) - log_q is an importance weight on the space
    of z and momentum: unbiased for p(x). It is no density of z alone, which has no closed form. Mean and stddev are the
    base's.

    Source: Caterini et al. 2018, Hamiltonian Variational Auto-Encoder, arXiv:1805.11328.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, start: Hamiltonian, log_joint: Callable[[Tensor], Tensor]) -> None:
        self.start, self.log_joint = start, log_joint
        super().__init__(start.batch_shape, start.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.start.mean

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.start.stddev

    @property
    def variance(self) -> Tensor:
        """(*batch, *event) of the base."""
        return self.start.variance

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises SettingError: the density of z alone has no closed form."""
        raise SettingError("a Hamiltonian posterior knows the density of its own draws alone; take the pathwise gradient")

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """z (*sample_shape, *batch, *event), and log_q (*sample_shape, *batch) of this very z with its momentum."""
        z = self.start.base.rsample(sample_shape)
        gamma, log_gamma = self.start.momentum.draw(z)
        z, rho, log_det = self.move(z, gamma, self.start.base.log_prob(z) + log_gamma)
        return z, log_det - self.start.momentum.log_prob(z, rho)

    def move(self, z: Tensor, gamma: Tensor, log_density: Tensor | float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Where z and gamma end, and their log-density there, given that at the start: it loses log |det| of the map."""
        momentum, steps = self.start.momentum, len(self.start.sizes)
        inverse = 1 / self.start.cooling
        heat = [(1 - inverse) * (s / steps) ** 2 + inverse for s in range(steps + 1)]
        energy = lambda z: self.log_joint(z) + momentum.volume(z)  # noqa: E731  minus the potential energy
        rho, force = gamma * inverse, gradient(energy, z)
        total = torch.as_tensor(log_density)
        for s, size in enumerate(self.start.sizes):
            rho, first = momentum.kick(z, rho, force, size)
            z, second = momentum.drift(z, rho, size)
            force = gradient(energy, z)
            rho, third = momentum.settle(z, rho, force, size)
            rho = rho * (heat[s + 1] / heat[s])
            total = total - first - second - third
        return z, rho, total


def gradient(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The gradient of `function` at z, its norm bounded smoothly, with a gradient of its own where gradients are recorded.

    Any force that is a function of z alone keeps a leapfrog step invertible and its volume; the bound keeps steps finite
    where p(x|z) is steep.
    """
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        point = z if z.requires_grad else z.detach().requires_grad_()
        # torch's counter of operations hangs hooks on what modules are given, and cannot bear a leaf there
        values = function(point.view_as(point))
        (found,) = torch.autograd.grad(values.sum(), point, create_graph=record)
    event = tuple(range(values.dim(), z.dim()))
    return found / (1 + (found / FORCE).square().sum(event, keepdim=True)).sqrt()
