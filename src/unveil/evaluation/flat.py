"""Which models can be looked at in z itself: those with one layer of z, real vectors under a prior with a density."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from unveil.distributions import surface_of
from unveil.errors import SettingError
from unveil.models import VAE, Model
from unveil.parts.two_stage import Bounded


def flat_prior(model: Model, what: str, context: Tensor | None = None) -> tuple[VAE, Distribution]:
    """The model as one with a single layer of z, and its p(z) over real vectors, batch shape () or (B,).

    Args:
        model: any.
        what: needs it, for the message.
        context: (B, C) what a conditional model is given.

    Raises:
        SettingError: several layers of z, or z that are curved, counted or no vectors, or a prior known by a bound alone.
    """
    if not isinstance(model, VAE):
        raise SettingError(f"{what} needs one layer of z with a prior of its own, and a {type(model).__name__} has none")
    prior = model.prior(None, context)
    if surface_of(prior) is not None:
        raise SettingError(f"{what} needs z in flat space, and z under {type(prior).__name__} is curved or counted")
    if len(prior.event_shape) != 1:
        raise SettingError(f"{what} needs z that are vectors, and z here has shape {tuple(prior.event_shape)}")
    if isinstance(prior, Bounded):
        raise SettingError(f"{what} needs the density of p(z), and that of a second stage is known by a bound alone")
    return model, prior
