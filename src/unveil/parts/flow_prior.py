"""Priors that are normalising flows, built by zuko: exact densities, and samples in one or many passes.

A flow takes z to standard noise: first by one learned shift and scale for each dimension, which may begin at those of
the encodings, then by layers of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution, Transform, TransformedDistribution

from unveil.distributions import DiagonalGaussian
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import bounded


def _zuko() -> Any:
    try:
        import zuko  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise SettingError("a flow prior is built by zuko, which is not installed; pip install zuko") from None
    return zuko


class FlowPrior(Part):
    r"""What the flow priors share.

    .. math:: \log p(z) = \log N(f(z) | 0, I) + \log |\det \partial f / \partial z|

    Args:
        latent: D, dimensions of z.
        layers: gives zuko's lazy transformations from its module of flows, on the CPU.

    Raises:
        SettingError: no dimensions, or zuko is not installed.
    """

    zeros: Tensor

    def __init__(self, latent: int, layers: Callable[[Any], Sequence[nn.Module]]) -> None:
        super().__init__()
        if latent < 1:
            raise SettingError(f"a flow over {latent} dimensions has nothing to transform; give at least 1")
        self.latent = latent
        self.loc = nn.Parameter(torch.zeros(latent))
        self.log_scale = nn.Parameter(torch.zeros(latent))
        self.register_buffer("zeros", torch.zeros(latent))
        # zuko reads its masks while it builds, which a saved run does on a device without memory
        with torch.device("cpu"):
            made = nn.ModuleList(layers(_zuko().flows))
        self.layers = made.to(self.zeros.device)

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        zuko = _zuko()
        transform = zuko.transforms.ComposedTransform(*(layer() for layer in self.layers))
        flow = zuko.distributions.NormalizingFlow(transform, DiagonalGaussian(self.zeros, self.zeros))
        widen = AffineTransform(self.loc, bounded(self.log_scale).exp(), event_dim=1)
        return TransformedDistribution(flow, [widen], validate_args=False)

    @torch.no_grad()
    def start_at(self, z: Tensor) -> None:
        """Let the first layer bring `z` (N, D) to mean 0 and variance 1."""
        self.loc.copy_(z.mean(0))
        self.log_scale.copy_(z.std(0, correction=0).clamp(min=1e-2).log())


class Coupling(FlowPrior):
    """A flow of affine couplings: each layer transforms every other dimension given the rest, so both ways are one pass.

    Args:
        latent: D, dimensions of z.
        transforms: layers, at least 2 for every dimension to have its turn.
        hidden: widths of the hidden layers of their networks.

    Source: Dinh et al. 2017, Density Estimation using Real NVP, arXiv:1605.08803.
    """

    def __init__(self, latent: int, transforms: int = 6, hidden: Sequence[int] = (128, 128)) -> None:
        def layers(flows: Any) -> list[nn.Module]:
            return [
                flows.GeneralCouplingTransform(
                    latent,
                    mask=torch.arange(latent) % 2 == place % 2,
                    univariate=_affine,
                    hidden_features=tuple(hidden),
                )
                for place in range(transforms)
            ]

        super().__init__(latent, layers)
        self.transforms, self.hidden = transforms, tuple(hidden)


class Autoregressive(FlowPrior):
    """A flow of masked autoregressive affine layers: a density in one pass, samples in D passes a layer.

    Args:
        latent: D, dimensions of z.
        transforms: layers, each in the reverse order of the one before.
        hidden: widths of the hidden layers of their networks.

    Source: Papamakarios et al. 2017, Masked Autoregressive Flow for Density Estimation, arXiv:1705.07057.
    """

    def __init__(self, latent: int, transforms: int = 4, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__(
            latent,
            lambda flows: _autoregressive(flows, latent, transforms, _affine, ((), ()), hidden),
        )
        self.transforms, self.hidden = transforms, tuple(hidden)


class Spline(FlowPrior):
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
        super().__init__(
            latent,
            lambda flows: _autoregressive(flows, latent, transforms, _spline, shapes, hidden),
        )
        self.transforms, self.hidden, self.bins = transforms, tuple(hidden), bins


def _autoregressive(
    flows: Any,
    latent: int,
    transforms: int,
    univariate: Callable[..., Transform],
    shapes: Sequence[Sequence[int]],
    hidden: Sequence[int],
) -> list[nn.Module]:
    orders = torch.arange(latent), torch.arange(latent).flip(0)
    return [
        flows.MaskedAutoregressiveTransform(
            latent,
            order=orders[place % 2],
            univariate=univariate,
            shapes=shapes,
            hidden_features=tuple(hidden),
        )
        for place in range(transforms)
    ]


# in training the networks' output may be bfloat16, too coarse for a log-determinant


def _affine(*parameters: Tensor) -> Transform:
    transform: Transform = _zuko().transforms.MonotonicAffineTransform(*(parameter.float() for parameter in parameters))
    return transform


def _spline(*parameters: Tensor) -> Transform:
    transform: Transform = _zuko().transforms.MonotonicRQSTransform(*(parameter.float() for parameter in parameters))
    return transform
