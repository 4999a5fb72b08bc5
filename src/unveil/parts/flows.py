"""Posteriors beyond Gaussians: maps that bend a simple one, each with a determinant that is cheap to know.

`Net(encoder, Flowed(Gaussian(16), [Planar(16), Planar(16)]))` is q(z|x) through two maps. All numbers that a map
depends on come from the encoder, beside those of the Gaussian that the maps begin with, so that each x has maps of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from unveil.distributions import ForwardFlow
from unveil.errors import SettingError
from unveil.part import Part
from unveil.parts.heads import Head, bounded


class FlowLayer(Part):
    """An invertible map of vectors that is taken forwards.

    Args:
        latent: D, dimensions of a vector.

    Raises:
        SettingError: D is below 1.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise SettingError(f"{type(self).__name__} cannot map vectors of {latent} dimensions; give at least 1")
        self.latent = latent

    @property
    @abstractmethod
    def parameters_needed(self) -> int:
        """P, how many numbers it depends on."""

    @abstractmethod
    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The image of z (*shape, *batch, D) under parameters (*batch, P), and log |det| (*shape, *batch)."""


class Planar(FlowLayer):
    r"""Stretches or squeezes space around a plane.

    .. math:: f(z) = z + \hat u \tanh(w'z + b), \quad \log |\det| = \log(1 + w'\hat u (1 - \tanh^2(w'z + b)))

    It is invertible where w'u > -1. Where the encoder's w'u is negative, u is shortened to w'u / (1 - w'u), which reaches
    all of the invertible maps; the paper moves u along w instead, which has a pole at w = 0. Of the 2 D + 1 parameters the
    first D are u, the next w, the last b; zeros mean the identity.

    Args:
        latent: D, dimensions of a vector.

    Source: Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770, appendix A.1.
    """

    @property
    def parameters_needed(self) -> int:
        return 2 * self.latent + 1

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, w, b = parameters.split([self.latent, self.latent, 1], -1)
        along = (u * w).sum(-1)
        shorter = 1 / (1 + F.relu(-along))
        slope = torch.where(along > 0, 1 + along, shorter)  # 1 + w'u after shortening, without a difference
        bend = torch.tanh((w * z).sum(-1, keepdim=True) + b)
        flat = bend.squeeze(-1).square()
        return z + u * shorter.unsqueeze(-1) * bend, torch.log(flat + (1 - flat) * slope)


class Radial(FlowLayer):
    r"""Contracts or expands space around a point.

    .. math:: f(z) = z + \frac{\beta (z - c)}{\alpha + r}, \quad r = |z - c|

    With alpha > 0 and beta > -alpha it is invertible: alpha and alpha + beta are exponentials here. Of the D + 2 parameters
    the first D are c, the next log alpha, the last log(1 + beta / alpha), both within 6 of zero; zeros mean the identity.

    Args:
        latent: D, dimensions of a vector.

    Source: Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770, appendix A.2.
    """

    @property
    def parameters_needed(self) -> int:
        return self.latent + 2

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        centre, widths = parameters.split([self.latent, 2], -1)
        log_alpha, log_ratio = bounded(widths, 6.0).unbind(-1)
        alpha, gamma = log_alpha.exp(), (log_alpha + log_ratio).exp()  # gamma = alpha + beta
        apart = z - centre
        r = torch.linalg.vector_norm(apart, dim=-1)
        # both factors of the determinant as sums of what is positive: nothing cancels
        across = torch.log(r + gamma) - torch.log(r + alpha)
        outwards = torch.log(r.square() + 2 * alpha * r + alpha * gamma) - 2 * torch.log(r + alpha)
        image = z + ((gamma - alpha) / (r + alpha)).unsqueeze(-1) * apart
        return image, (self.latent - 1) * across + outwards


class InverseAutoregressive(FlowLayer):
    r"""Moves each dimension by a network of the dimensions before it, all at once.

    .. math:: f(z)_i = \sigma_i z_i + (1 - \sigma_i) m_i, \quad \log |\det| = \sum_i \log \sigma_i

    m and sigma, a sigmoid, come from a masked network that sees z_1 ... z_{i-1} and the context that the encoder gives. Its
    weights are shared by all x. The paper gives one context to all of its steps; here each has its own. Inverting it would
    take D passes, one after the other. log sigma stays above -12.

    Args:
        latent: D, dimensions of a vector.
        hidden: width of each hidden layer, at least one.
        context: C, how many numbers the encoder gives.
        backwards: whether the order of the dimensions is reversed, as in every other step of a chain.

    Raises:
        SettingError: a size below 1, or no hidden layer.

    Source: Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934; Germain
    et al. 2015, MADE: Masked Autoencoder for Distribution Estimation, arXiv:1502.03509 (the masks).
    """

    def __init__(self, latent: int, hidden: Sequence[int] = (128,), context: int = 32, backwards: bool = False) -> None:
        super().__init__(latent)
        if not hidden or min([*hidden, context]) < 1:
            given = f"hidden layers {tuple(hidden)} and a context of {context}"
            raise SettingError(f"{given} make no masked network; give a layer at least, and positive numbers")
        self.hidden, self.context, self.backwards = tuple(hidden), context, backwards
        inputs = torch.arange(1, latent + 1)
        if backwards:
            inputs = inputs.flip(0)
        # a unit of degree d sees the dimensions 1 to d; those of degree 0 see the context alone
        degrees = [inputs, *(torch.arange(width) % latent for width in self.hidden)]
        self.given = nn.Linear(context, self.hidden[0])
        self.inner = nn.ModuleList(_Masked(a, b) for a, b in pairwise(degrees))
        self.last = _Masked(degrees[-1], torch.cat([inputs, inputs]) - 1)

    @property
    def parameters_needed(self) -> int:
        return self.context

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        first, *others = self.inner
        h = F.silu(first(z) + self.given(parameters))
        for layer in others:
            h = F.silu(layer(h))
        m, raw = self.last(h).to(z.dtype).chunk(2, -1)
        log_sigma = F.logsigmoid(bounded(raw + 2.0))  # a fresh step changes little
        sigma = log_sigma.exp()
        return sigma * z + (1 - sigma) * m, log_sigma.sum(-1)


class _Masked(nn.Module):
    """A linear layer in which a unit of degree d sees the inputs of degrees up to d."""

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(len(inputs), len(outputs))
        self.register_buffer("mask", (outputs.unsqueeze(1) >= inputs).float())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.linear.weight * self.mask, self.linear.bias)


class Flowed(Head):
    """A distribution bent by layers: z from `head`, then through each layer in turn.

    The parameters (*lead, P) are those of `head`, then those of each layer: one network gives all of them. The density is
    known at its own draws alone, so that 'sticking' and 'dreg' gradients are refused.

    Args:
        head: where z begins, over vectors of D dimensions.
        layers: maps of those vectors.

    Raises:
        SettingError: layers of different dimensions, or parameters of another number.

    Source: Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770.
    """

    def __init__(self, head: Head, layers: Sequence[FlowLayer]) -> None:
        super().__init__()
        self.head, self.layers = head, nn.ModuleList(layers)
        self._sizes = [layer.parameters_needed for layer in layers]
        if len({layer.latent for layer in layers}) > 1:
            dimensions = ", ".join(str(layer.latent) for layer in layers)
            raise SettingError(f"layers of {dimensions} dimensions do not follow each other; give all the same number")

    def forward(self, parameters: Tensor) -> Distribution:
        rest = parameters.shape[-1] - sum(self._sizes)
        if rest < 1:
            raise SettingError(
                f"the layers take {sum(self._sizes)} parameters beside those of {type(self.head).__name__}; "
                f"the network gave {parameters.shape[-1]} for both"
            )
        first, *others = parameters.float().split([rest, *self._sizes], -1)
        base = self.head(first)
        for layer in self.layers:
            if base.event_shape != (layer.latent,):
                raise SettingError(f"{type(layer).__name__}({layer.latent}) cannot map events of {tuple(base.event_shape)}")
        maps = [partial(layer, parameters=own) for layer, own in zip(self.layers, others, strict=True)]
        return ForwardFlow(base, maps)

    def needs(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        return (self.head.needs(event_shape)[0] + sum(self._sizes),)
