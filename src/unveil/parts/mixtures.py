"""Priors that are mixtures: of learned Gaussians, of posteriors of learned inputs, or around training examples.

Their rate has no closed form: it is log q - log p of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.distributions import Delta, DiagonalGaussian, Mixture
from unveil.errors import SettingError
from unveil.part import Conditional, Part
from unveil.parts.heads import bounded
from unveil.randomness import generator

if TYPE_CHECKING:
    from unveil.data import Split


class MixtureOfGaussians(Part):
    r"""A mixture of Gaussians with learned means, scales and weights.

    .. math:: p(z) = \sum_c w_c N(z | \mu_c, \mathrm{diag}\, \sigma_c^2)

    Args:
        event_shape: shape of one z, or the number D of dimensions of a vector.
        components: C, at least 1.

    Raises:
        SettingError: no dimensions or no components.
    """

    def __init__(self, event_shape: int | Sequence[int], components: int = 100) -> None:
        super().__init__()
        self.event_shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if min(self.event_shape, default=0) < 1:
            raise SettingError(f"a prior over shape {self.event_shape} has no dimensions; give positive numbers")
        if components < 1:
            raise SettingError(f"a mixture cannot have {components} components; give at least 1")
        self.components = components
        self.means = nn.Parameter(torch.randn(components, *self.event_shape))
        self.log_scales = nn.Parameter(torch.zeros(components, *self.event_shape))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Mixture:
        gaussians = DiagonalGaussian(self.means, bounded(self.log_scales), len(self.event_shape))
        return Mixture(self.logits.log_softmax(0), gaussians)

    @torch.no_grad()
    def start_at(self, z: Tensor) -> None:
        """Let the means begin at points drawn from `z` (N, *event) by torch's default generator, and be as wide."""
        self.means.copy_(z[_some(len(z), self.components)])
        self.log_scales.copy_(z.std(0, correction=0).clamp(min=1e-2).log().expand_as(self.log_scales))


class Vamp(Part):
    r"""A mixture of the posteriors of learned pseudo-inputs.

    .. math:: p(z) = \frac1C \sum_c q(z | u_c)

    The posterior is the model's own, not a copy: prior and posterior move together. In a conditional model each example's
    mixture is of q(z | u_c, context). Its saved weights hold pseudo-inputs, which may look like the data they began at.

    Args:
        posterior: q(z|x), with a density.
        count: C, how many pseudo-inputs.
        shape: of one x.
        bounds: the range of x, to which pseudo-inputs are brought back after each step; None for real x.

    Raises:
        SettingError: no pseudo-inputs, or a posterior without density.

    Source: Tomczak & Welling 2018, VAE with a VampPrior, arXiv:1705.07120.
    """

    carries = "pseudo-inputs, which began at training examples"

    def __init__(
        self,
        posterior: Conditional,
        count: int,
        shape: Sequence[int],
        bounds: Sequence[float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        if count < 1:
            raise SettingError(f"a mixture cannot have {count} pseudo-inputs; give at least 1")
        self.posterior, self.count, self.shape = posterior, count, tuple(shape)
        self.bounds = None if bounds is None else tuple(bounds)
        self.pseudo_inputs = nn.Parameter(torch.rand(count, *self.shape))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Mixture:
        # a copy: without gradient torch's counter of operations trips over a network whose input is a parameter
        components = _posteriors(self.posterior, self.pseudo_inputs.clone(), context)
        if isinstance(components, Delta):
            raise SettingError("a mixture of posteriors has no density under a Delta posterior; take another prior")
        return Mixture(self.pseudo_inputs.new_full((self.count,), -log(self.count)), components)

    @torch.no_grad()
    def update(self, draw: object) -> None:
        """Bring the pseudo-inputs back between their bounds. A clamp in `forward` would leave those outside no gradient."""
        if self.bounds is not None:
            self.pseudo_inputs.clamp_(*self.bounds)

    @torch.no_grad()
    def start(self, data: Split) -> None:
        """Let the pseudo-inputs begin at E[x] of rows drawn by torch's default generator, gaps at the mean."""
        x = data.reading.mean(data.values[_some(len(data), self.count)])
        self.pseudo_inputs.copy_(torch.where(x.isnan(), data.mean(), x))


class Exemplar(Part):
    r"""Gaussians of one learned scale around the posterior means of training examples.

    .. math:: p(z) = \frac1C \sum_c N(z | E[q(z|x_c)], \sigma^2 I)

    The exemplars x_c are drawn anew before each epoch, by (`key`, t). In training an example that is an exemplar does not
    count for itself, or the prior would learn to remember; otherwise all count, so that figures are those of this very
    mixture. With all N training examples as exemplars log p(z) would be higher on average: its value for C of them is
    biased downwards as an estimate of that. The saved weights carry the exemplars, which are training examples.

    Args:
        posterior: q(z|x), whose mean is used.
        count: C, how many exemplars, at least 2.
        shape: of one x.

    Raises:
        SettingError: fewer than 2 exemplars, or more than training examples.

    Source: Norouzi et al. 2020, Exemplar VAE, arXiv:2004.04795.
    """

    carries = "training examples"
    exemplars: Tensor
    rows: Tensor
    key: Tensor

    def __init__(self, posterior: Conditional, count: int, shape: Sequence[int]) -> None:
        super().__init__()
        if count < 2:
            raise SettingError(f"one of {count} exemplars cannot be left out; give at least 2")
        self.posterior, self.count, self.shape = posterior, count, tuple(shape)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("exemplars", torch.zeros(count, *self.shape))
        self.register_buffer("rows", torch.full((count,), -1))
        self.register_buffer("key", torch.randint(2**31, ()))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Mixture:
        around = _posteriors(self.posterior, self.exemplars, context)
        components = DiagonalGaussian(around.mean, bounded(self.log_scale), len(around.event_shape))
        counted = around.mean.new_zeros(self.count)
        if self.training and given is not None:
            counted = counted.masked_fill(self.rows == given.unsqueeze(1), -inf)
        return Mixture(counted.log_softmax(-1), components)

    @torch.no_grad()
    def prepare(self, data: Split, t: float) -> None:
        """Draw exemplars from the training split, as a function of `key` and `t`."""
        if self.count > len(data):
            raise SettingError(f"{self.count} exemplars cannot be drawn from {len(data)} examples; give fewer")
        source = generator("exemplars", int(self.key), str(t))
        chosen = torch.randperm(len(data), generator=source)[: self.count]
        self.rows.copy_(chosen)
        # the key's generator is the CPU's
        self.exemplars.copy_(data.reading(data.values[chosen.to(data.values.device)].cpu(), source))


def _some(n: int, count: int) -> Tensor:
    """(count,) positions below n, each again only when all were had."""
    return torch.randperm(n)[torch.arange(count) % n]


def _posteriors(posterior: Conditional, x: Tensor, context: Tensor | None) -> Distribution:
    """q(z|x_c) of x (C, *event), batch shape (C,); beside each of the contexts (B, *), batch shape (B, C)."""
    if context is None:
        return posterior(x)
    lead = (context.shape[0], x.shape[0])
    beside = context.unsqueeze(1).expand(*lead, *context.shape[1:])
    return posterior(x.expand(*lead, *x.shape[1:]), beside, leading=2)
