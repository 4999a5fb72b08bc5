"""One of several distributions, chosen at random.

torch.distributions' own draws every component for every sample, which for 500 pseudo-inputs is 500 times the work, and
cannot leave a component out of one example's mixture.
"""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.overrides import handle_torch_function, has_torch_function_unary

NUMBERS = 2**20
"""Most differences value - mean held at a time without gradient: few enough to stay in the cache."""


class Mixture(Distribution):
    r"""A mixture of C distributions of one family.

    .. math:: p(z) = \sum_c w_c p_c(z)

    Samples carry no gradient.

    Args:
        log_weights: (*batch, C) log w, normalised; -inf leaves a component out.
        components: batch shape (*batch, C), or (C,) where all of the batch share them.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, log_weights: Tensor, components: Distribution) -> None:
        self.log_weights, self.components = log_weights, components
        batch = torch.broadcast_shapes(log_weights.shape, components.batch_shape)[:-1]
        super().__init__(batch, components.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """That of the components."""
        return self.components.support

    def _average(self, values: Tensor) -> Tensor:
        """(*batch, *event) of `values` (*batch, C, *event), or without batch."""
        weights = self.log_weights.exp()
        return (weights.reshape(*weights.shape, *[1] * len(self.event_shape)) * values).sum(-1 - len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """(*batch, *event)."""
        return self._average(self.components.mean)

    @property
    def variance(self) -> Tensor:
        """(*batch, *event) the mean variance of the components and the variance of their means."""
        apart = self.components.mean - self.mean.unsqueeze(-1 - len(self.event_shape))
        return self._average(self.components.variance + apart.square())

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` broadcasts against the batch."""
        events = len(self.event_shape)
        leading = value.dim() - events - len(self.batch_shape)
        if torch.is_grad_enabled() or leading < 1 or len(value) == 1 or not value.numel():
            return self._log_prob(value)
        each = value[0].numel() * self.log_weights.shape[-1]
        return torch.cat([self._log_prob(part) for part in value.split(max(1, NUMBERS // each))])

    def _log_prob(self, value: Tensor) -> Tensor:
        log_probs = self.components.log_prob(value.unsqueeze(-1 - len(self.event_shape)))
        return torch.logsumexp(log_probs + self.log_weights, -1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event), each from a component of its own choice."""
        shape = torch.Size(sample_shape) + self.batch_shape
        size = self.log_weights.shape[-1]
        weights = self.log_weights.exp().expand(*self.batch_shape, size).reshape(-1, size)
        chosen = torch.multinomial(weights, prod(sample_shape), replacement=True).T
        # components that the batch shares are drawn from as by one example, or its samples would not be independent
        chosen = chosen.reshape(-1, self.components.batch_shape[:-1].numel())
        return drawn_from(self.components, chosen).reshape(*shape, *self.event_shape)


def drawn_from(components: Distribution, chosen: Tensor) -> Tensor:
    """(S, B, *event) a draw from the component `chosen` (S, B) of each of the B batches of `components`, (*batch, C).

    It counts how often each is chosen. What cannot count, as a traced graph, may stand in for it by torch's protocol.
    """
    if has_torch_function_unary(chosen):
        return handle_torch_function(drawn_from, (chosen,), components, chosen)
    turn, size = _turns(chosen), components.batch_shape[-1]
    # every component is drawn as often as the one that was chosen most: samples of a family need no indexing of it
    draws = components.sample(torch.Size([int(turn.max()) + 1]))
    draws = draws.reshape(len(draws), chosen.shape[1], size, *components.event_shape)
    columns = torch.arange(chosen.shape[1], device=chosen.device)
    return draws[turn, columns, chosen]


def _turns(chosen: Tensor) -> Tensor:
    """(S, B) int64: how often the same number stood above in its column of `chosen` (S, B)."""
    ordered = chosen.sort(dim=0, stable=True)
    columns = ordered.values.T.contiguous()
    place = torch.arange(len(chosen), device=chosen.device)
    return torch.empty_like(chosen).scatter_(0, ordered.indices, (place - torch.searchsorted(columns, columns)).T)
