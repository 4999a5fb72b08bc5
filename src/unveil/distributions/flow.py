"""Distributions pushed through invertible maps, which are taken both ways, or only ever forwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.distributions.surface import surface_of
from unveil.errors import SettingError

Map = Callable[[Tensor], tuple[Tensor, Tensor]]
"""z (*shape, *batch, *event) to its image and log |det df/dz| (*shape, *batch)."""


class ForwardFlow(Distribution):
    r"""z_T = f_T(... f_1(z_0)) with z_0 from a base.

    .. math:: \log q(z_T) = \log q_0(z_0) - \sum_t \log |\det \partial f_t / \partial z_{t-1}|

    The density is known at its own draws alone, whose way through the maps is known: nothing is inverted.

    Args:
        base: of z_0, with reparameterised samples.
        maps: f_1 to f_T, invertible.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, base: Distribution, maps: Sequence[Map]) -> None:
        if surface_of(base) is not None:
            raise SettingError(f"the maps of a flow are of flat space, and {type(base).__name__} is not; take Gaussian()")
        self.base, self.maps = base, tuple(maps)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event) the image of the base's mean, which is near the mean where the flow is nearly linear."""
        z: Tensor = self.base.mean
        for each in self.maps:
            z, _ = each(z)
        return z

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event) the base's; what the maps make of it only draws can tell."""
        scale: Tensor = self.base.stddev
        return scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, shape: Any = ()) -> tuple[Tensor, Tensor]:
        """z (*shape, *batch, *event) and log q (*shape, *batch) of this very z, in nats."""
        z = self.base.rsample(torch.Size(shape))
        log_q = self.base.log_prob(z)
        for each in self.maps:
            z, log_det = each(z)
            log_q = log_q - log_det
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises SettingError: where a value came from is not known."""
        raise SettingError(
            "the density of a flow that is taken forwards is known at its own draws alone, for its maps have no inverse in "
            "closed form; take the pathwise gradient, or a posterior whose density is a formula, such as Full"
        )


class Invertible(Protocol):
    """A map of z (*lead, D) that can be taken both ways."""

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The image (*lead, D), and log |det df/dz| (*lead)."""
        ...

    def inverse(self, image: Tensor) -> Tensor:
        """(*lead, D) what has that image."""
        ...


class InvertibleFlow(Distribution):
    r"""z whose image f_T(... f_1(z)) has a base's density.

    .. math:: \log p(z) = \log p_0(f(z)) + \log |\det \partial f / \partial z|

    zuko has the like; its composition of transformations is not one that torch.compile sees through, and the flow is most
    of the step of a small model.

    Args:
        base: of the image, with reparameterised samples, batch shape ().
        maps: f_1 to f_T, from z to its image.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(self, base: Distribution, maps: Sequence[Invertible]) -> None:
        self.base, self.maps = base, tuple(maps)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *event)."""
        z: Tensor = self.base.rsample(torch.Size(sample_shape))
        for each in reversed(self.maps):
            z = each.inverse(z)
        return z

    def image(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Of `value` (*lead, *event) what the base is asked about (*lead, *event), and log |det| (*lead)."""
        total = value.new_zeros(value.shape[:-1])
        for each in self.maps:
            value, log_det = each(value)
            total = total + log_det
        return value, total

    def log_prob(self, value: Tensor) -> Tensor:
        """(*lead) nats."""
        image, log_det = self.image(value)
        return self.base.log_prob(image) + log_det
