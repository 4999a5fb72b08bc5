"""Priors that are normalising flows: exact densities, and samples in one or many passes.

A flow takes z to standard noise: first by one learned shift and scale for each dimension, which may begin at those of
the encodings, then by layers of one kind. Couplings are made here; autoregressive layers and splines are zuko's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform

from unveil.distributions import DiagonalGaussian, Invertible, InvertibleFlow
from unveil.errors import SettingError
from unveil.networks import Mlp
from unveil.networks.residual import scaled
from unveil.part import Part
from unveil.parts.heads import bounded

STRETCH = 6.0
"""Logarithms of what a coupling multiplies by lie between -STRETCH and STRETCH."""


class FlowPrior(Part):
    r"""What the flow priors share.

    .. math:: \log p(z) = \log N(f(z) | 0, I) + \log |\det \partial f / \partial z|

    Args:
        latent: D, dimensions of z.

    Raises:
        SettingError: no dimensions.
    """

    zeros: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise SettingError(f"a flow over {latent} dimensions has nothing to transform; give at least 1")
        self.latent = latent
        self.loc = nn.Parameter(torch.zeros(latent))
        self.log_scale = nn.Parameter(torch.zeros(latent))
        self.register_buffer("zeros", torch.zeros(latent))

    @abstractmethod
    def maps(self) -> Sequence[Invertible]:
        """What follows the first shift and scale on the way from z to noise."""

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        first = _Standardise(self.loc, bounded(self.log_scale))
        return InvertibleFlow(DiagonalGaussian(self.zeros, self.zeros), [first, *self.maps()])

    @torch.no_grad()
    def start_at(self, z: Tensor) -> None:
        """Let the first layer bring `z` (N, D) to mean 0 and variance 1."""
        self.loc.copy_(z.mean(0))
        self.log_scale.copy_(z.std(0, correction=0).clamp(min=1e-2).log())


@dataclass(frozen=True)
class _Standardise:
    """z to (z - loc) / scale."""

    loc: Tensor
    log_scale: Tensor

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z - self.loc) * (-self.log_scale).exp(), -self.log_scale.sum(-1).expand(z.shape[:-1])

    def inverse(self, image: Tensor) -> Tensor:
        return torch.addcmul(self.loc, image, self.log_scale.exp())


class AffineCoupling(nn.Module):
    r"""Every other dimension shifted and stretched by what a network makes of the rest, which stays.

    .. math:: f(z) = b z + (1 - b) (z \, e^{s(b z)} + t(b z))

    Args:
        latent: D, dimensions of z.
        hidden: widths of the network's hidden layers.
        odd: which dimensions stay: those of odd number, or of even.

    Source: Dinh et al. 2017, Density Estimation using Real NVP, arXiv:1605.08803, equation 9.
    """

    stays: Tensor

    def __init__(self, latent: int, hidden: Sequence[int], odd: bool) -> None:
        super().__init__()
        self.latent, self.hidden, self.odd = latent, tuple(hidden), odd
        self.register_buffer("stays", torch.arange(latent).remainder(2).eq(int(odd)))
        self.network = Mlp((latent,), hidden, (2, latent), "silu")
        scaled(self.network.last, 0.1)  # begins near the identity

    def _change(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(*lead, D) the logarithm of what each dimension is multiplied by, and what is added: 0 where it stays."""
        raw = self.network(torch.where(self.stays, z, 0.0).reshape(-1, self.latent))
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))  # a log-determinant is too much for bfloat16
        stretch, shift = raw.view(*z.shape[:-1], 2, self.latent).unbind(-2)
        return torch.where(self.stays, 0.0, bounded(stretch, STRETCH)), torch.where(self.stays, 0.0, shift)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        stretch, shift = self._change(z)
        return torch.addcmul(shift, z, stretch.exp()), stretch.sum(-1)

    def inverse(self, image: Tensor) -> Tensor:
        """(*lead, D) the z of that image."""
        stretch, shift = self._change(image)
        return (image - shift) * (-stretch).exp()


class Coupling(FlowPrior):
    """A flow of affine couplings: both ways are one pass.

    Args:
        latent: D, dimensions of z.
        transforms: layers, at least 2 for every dimension to have its turn.
        hidden: widths of the hidden layers of their networks.

    Source: Dinh et al. 2017, Density Estimation using Real NVP, arXiv:1605.08803.
    """

    def __init__(self, latent: int, transforms: int = 6, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__(latent)
        self.transforms, self.hidden = transforms, tuple(hidden)
        self.layers = nn.ModuleList(AffineCoupling(latent, hidden, place % 2 == 0) for place in range(transforms))

    def maps(self) -> list[Invertible]:
        """The couplings."""
        return [layer for layer in self.layers if isinstance(layer, AffineCoupling)]


def _zuko() -> Any:
    try:
        import zuko  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise SettingError("this flow prior is built by zuko, which is not installed; pip install zuko") from None
    return zuko


class _Zuko:
    """A transformation of zuko's as one of ours."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        image, log_det = self.transform.call_and_ladj(z)
        return image, log_det

    def inverse(self, image: Tensor) -> Tensor:
        z: Tensor = self.transform.inv(image)
        return z


class _OfZuko(FlowPrior):
    """A flow whose layers are zuko's."""

    layers: nn.ModuleList

    def maps(self) -> list[Invertible]:
        """The layers, as they are now."""
        return [_Zuko(layer()) for layer in self.layers]


class Autoregressive(_OfZuko):
    """A flow of masked autoregressive affine layers: a density in one pass, samples in D passes a layer.

    Args:
        latent: D, dimensions of z.
        transforms: layers, each in the reverse order of the one before.
        hidden: widths of the hidden layers of their networks.

    Source: Papamakarios et al. 2017, Masked Autoregressive Flow for Density Estimation, arXiv:1705.07057.
    """

    def __init__(self, latent: int, transforms: int = 4, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__(latent)
        self.transforms, self.hidden = transforms, tuple(hidden)
        self.layers = _autoregressive(latent, transforms, _affine, ((), ()), hidden, self.zeros.device)


class Spline(_OfZuko):
    """A flow of autoregressive rational-quadratic splines, the identity beyond 5 units of the standardised z.

    Args:
        latent: D, dimensions of z.
        transforms: layers, each in the reverse order of the one before.
        hidden: widths of the hidden layers of their networks.
        bins: of each spline.

    Source: Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032.
    """

    def __init__(self, latent: int, transforms: int = 3, hidden: Sequence[int] = (128, 128), bins: int = 8) -> None:
        shapes = ((bins,), (bins,), (bins - 1,))
        super().__init__(latent)
        self.transforms, self.hidden, self.bins = transforms, tuple(hidden), bins
        self.layers = _autoregressive(latent, transforms, _spline, shapes, hidden, self.zeros.device)


def _autoregressive(
    latent: int,
    transforms: int,
    univariate: Callable[..., Transform],
    shapes: Sequence[Sequence[int]],
    hidden: Sequence[int],
    device: torch.device,
) -> nn.ModuleList:
    # zuko reads its masks while it builds, which a saved run does on a device without memory
    with torch.device("cpu"):
        orders = torch.arange(latent), torch.arange(latent).flip(0)
        made = nn.ModuleList(
            _zuko().flows.MaskedAutoregressiveTransform(
                latent,
                order=orders[place % 2],
                univariate=univariate,
                shapes=shapes,
                hidden_features=tuple(hidden),
            )
            for place in range(transforms)
        )
    return made.to(device)


# in training the networks' output may be bfloat16, too coarse for a log-determinant


def _affine(*parameters: Tensor) -> Transform:
    transform: Transform = _zuko().transforms.MonotonicAffineTransform(*(parameter.float() for parameter in parameters))
    return transform


def _spline(*parameters: Tensor) -> Transform:
    transform: Transform = _zuko().transforms.MonotonicRQSTransform(*(parameter.float() for parameter in parameters))
    return transform
