"""Independent one-hot variables: draws that are exact, and draws through which a gradient finds its way.

A one-hot value has no derivative in the probabilities that it was drawn by. The Gumbel-softmax draw takes that of a
softmax in its stead, at a temperature: cold, the two are close and the gradient is all noise; hot, it is calm and wrong.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn import functional as F

from unveil.distributions.surface import Counted


class GumbelOneHot(Distribution):
    r"""D one-hot variables of C classes each, independent given their logits.

    `sample`, `log_prob`, `entropy` and the divergence are exact and know no temperature. `rsample` has the value of
    `sample`, and the gradient of softmax((log p + g) / temperature) with Gumbel noise g ('straight-through'). It is biased
    for the gradient of an expectation, the more so the hotter, and the wilder the colder: of three classes and a quadratic
    function, the bias is 100%, 56% and 8% of the gradient at temperatures 2, 0.5 and 0.1.

    Args:
        logits: (*batch, D, C).
        temperature: a positive scalar.

    Source: Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax, arXiv:1611.01144; Maddison et al. 2017,
    The Concrete Distribution, arXiv:1611.00712.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = Counted()
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: Tensor | float = 1.0) -> None:
        self.log_mass, self.temperature = logits.log_softmax(-1), temperature
        super().__init__(logits.shape[:-2], logits.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch, D, C) the probabilities."""
        return self.log_mass.exp()

    @property
    def variance(self) -> Tensor:
        """(*batch, D, C) p (1 - p)."""
        return self.mean * (1 - self.mean)

    @property
    def stddev(self) -> Tensor:
        """(*batch, D, C)."""
        return self.variance.clamp(min=0).sqrt()

    def _perturbed(self, sample_shape: Any) -> Tensor:
        """log p plus Gumbel noise: its largest entry is class c with probability p(c)."""
        shape = torch.Size(sample_shape) + self.log_mass.shape
        noise = torch.empty(shape, device=self.log_mass.device, dtype=self.log_mass.dtype).exponential_()
        return self.log_mass - noise.clamp(min=torch.finfo(noise.dtype).tiny).log()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, D, C) exactly one-hot, with the gradient of a softmax."""
        perturbed = self._perturbed(sample_shape)
        soft = (perturbed / self.temperature).softmax(-1)
        # soft - soft is exactly zero, so the value stays one-hot to the last digit
        return _one_hot(perturbed) + (soft - soft.detach())

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, D, C) one-hot."""
        return _one_hot(self._perturbed(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats of a one-hot value, which broadcasts against the batch."""
        return (value * self.log_mass).sum((-2, -1))

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        return -(self.mean * self.log_mass).sum((-2, -1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> GumbelOneHot:
        """The same distribution with its batch broadcast to `batch_shape`."""
        return GumbelOneHot(self.log_mass.expand(*batch_shape, *self.event_shape), self.temperature)


def _one_hot(scores: Tensor) -> Tensor:
    return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


@register_kl(GumbelOneHot, GumbelOneHot)
def _divergence(q: GumbelOneHot, p: GumbelOneHot) -> Tensor:
    return (q.mean * (q.log_mass - p.log_mass)).sum((-2, -1))
