"""A second model of z as the prior of the first: its density is known through a bound alone."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from unveil.data import Batch
from unveil.part import Conditional, Part


class ModelOfZ(Protocol):
    """What a second stage must be able to do; any model with z for its x is one."""

    prior: Conditional

    def draw(self, batch: Batch) -> Any:
        """One draw of u for each z, with its importance weight `log_w` (1, B)."""
        ...

    def decode(self, u: Tensor) -> Distribution:
        """p(z|u)."""
        ...

    def sample(self, n: int) -> Tensor:
        """(n, *event) z."""
        ...


class TwoStage(Part):
    r"""p(z) of a second VAE, fitted to the encodings of the first.

    .. math:: p(z) = \int p(z|u) p(u) du \approx \frac{p(z|u) p(u)}{r(u|z)}, \quad u \sim r(u|z)

    Nats with this prior are a bound. `log_prob` is a single-draw ELBO of the second stage, drawn afresh at each call:
    its exponential is unbiased for p(z), itself it is a lower bound on log p(z) in expectation. A rate made from it is
    therefore an upper bound on the rate, and -ELBO an upper bound on that of the exact prior; an importance-weighted
    estimate of p(x) remains unbiased, at a larger variance. Value and gradient are unbiased for the second stage's ELBO.

    Args:
        model: a model of real vectors z, itself without context.

    Source: Dai & Wipf 2019, Diagnosing and Enhancing VAE Models, arXiv:1903.05789.
    """

    def __init__(self, model: ModelOfZ) -> None:
        super().__init__()
        self.model = model

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        return Bounded(self.model)


class Bounded(Distribution):
    """The distribution of a model's x, with a noisy lower bound for a density.

    Args:
        model: what is bounded.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, model: ModelOfZ) -> None:
        self.model = model
        prior = model.prior()
        zeros = next(iter(model.parameters())).new_zeros(1, *prior.event_shape)  # type: ignore[attr-defined]
        with torch.no_grad():
            output = model.decode(zeros)
        self._support = output.support
        super().__init__(torch.Size(), output.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """That of p(z|u)."""
        return self._support

    def log_prob(self, value: Tensor) -> Tensor:
        """(*lead) nats for `value` (*lead, *event): a single-draw ELBO, a lower bound in expectation."""
        lead = value.shape[: value.dim() - len(self.event_shape)]
        z = value.reshape(-1, *self.event_shape)
        nowhere = torch.full(z.shape[:1], -1, device=z.device)
        density: Tensor = self.model.draw(Batch(z, nowhere, z.shape[0])).log_w[0].reshape(lead)
        return density

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *event)."""
        shape = torch.Size(sample_shape)
        return self.model.sample(prod(shape)).reshape(*shape, *self.event_shape)
