"""Independent Bernoulli variables over a whole event, whose log-density is one pass forward and one backward.

torch.distributions' own takes six passes over the pixels and keeps as many tensors for the gradient; in a VAE on images
those passes cost as much as the network.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from unveil.distributions.precision import wide


class _LogDensity(torch.autograd.Function):
    """sum over the last dimension of x l - softplus(l), with logits l (*batch, E) and x (*shape that broadcasts, E)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        # the smaller terms, softplus(l) - x l, are summed: fewer digits are lost than in a difference of two sums
        cost = F.softplus(logits)
        # saves a pass; not asked of torch.broadcast_shapes, which imports sympy: a tenth of a short training
        into = cost if torch.broadcast_tensors(logits, x)[0].shape == cost.shape else None
        return torch.addcmul(cost, logits, x, value=-1, out=into).sum(-1).neg_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x = ctx.saved_tensors
        grad = grads[0].unsqueeze(-1)
        for_logits = None
        if ctx.needs_input_grad[0]:
            mean = torch.sigmoid(logits)
            # in place saves two passes; not where this gradient is to be differentiated again
            plain = not torch.is_grad_enabled() and grad.shape[:-1] == logits.shape[:-1]
            for_logits = mean.sub_(x).mul_(-grad) if plain else ((x - mean) * grad).sum_to_size(logits.shape)
        for_x = (grad * logits).sum_to_size(x.shape) if ctx.needs_input_grad[1] else None
        return for_logits, for_x


class IndependentBernoulli(Distribution):
    """Bernoulli variables, independent given their logits.

    `log_prob` is exact for x in {0, 1}. For gray x in [0, 1] it is minus the cross-entropy, which is the expectation of
    the log-probability of the binarised image, and no density of x.

    Args:
        logits: (*batch, *event).
        event_dims: how many trailing dimensions are the event, at least 1.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        self.logits = logits
        split = logits.dim() - event_dims
        super().__init__(logits.shape[:split], logits.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, *event) the probabilities of 1."""
        return torch.sigmoid(self.logits.float())

    @property
    def variance(self) -> Tensor:
        """(*batch, *event) p (1 - p)."""
        return self.mean * (1 - self.mean)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event) float zeros and ones."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return (torch.rand(shape, device=self.logits.device) < self.mean).float()

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` broadcasts against the batch."""
        size = prod(self.event_shape)
        logits = self.logits.reshape(*self.batch_shape, size).float()
        x = value.reshape(*value.shape[: value.dim() - len(self.event_shape)], size).float()
        # sums over hundreds of pixels need float32: autocast would round them to bfloat16, 0.5 nats near -100
        with torch.autocast(logits.device.type, enabled=False):
            density: Tensor = _LogDensity.apply(logits, x)
        return density

    def log_probs(self, value: Tensor) -> Tensor:
        """(*batch, *event) nats of each variable by itself; `value` broadcasts against batch and event."""
        with torch.autocast(self.logits.device.type, enabled=False):
            logits = self.logits.float()
            return value.float() * logits - F.softplus(logits)

    def entropies(self) -> Tensor:
        """(*batch, *event) nats of each variable by itself."""
        with torch.autocast(self.logits.device.type, enabled=False):
            logits = self.logits.float()
            return F.softplus(logits) - logits * torch.sigmoid(logits)

    def table(self, x: Tensor) -> Tensor:
        """(G, N) nats of every x (N, *event) under every distribution of the batch (G,): one product, in float32.

        Of x l - softplus(l) the two sums are taken apart, so that a result of 100 nats between sums near 1000 has lost one
        digit of seven; `log_prob` loses fewer.
        """
        logits, rows = self.logits.flatten(1).float(), x.flatten(1).float()
        with torch.autocast(logits.device.type, enabled=False):
            volume = wide(F.softplus(logits)).sum(-1, keepdim=True)
            return torch.addmm(volume.float(), logits, rows.T, beta=-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> IndependentBernoulli:
        """The same distribution with its batch broadcast to `batch_shape`."""
        return IndependentBernoulli(self.logits.expand(*batch_shape, *self.event_shape), len(self.event_shape))
