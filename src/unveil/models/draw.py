"""The seam. A model makes draws, an objective reads draws, and neither knows the other's kind.

For each of B examples a draw holds K values of the latent variables z and everything that a bound, a penalty or a metric
needs to know about them, in nats. log w = log p(x|z) + log p(z) - log q(z|x) is the importance weight of a value, and
the mean of w over values of q is an unbiased estimate of p(x), where q covers all z that p(x, z) does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch, Measure
from unveil.models.latent import Gradient
from unveil.part import Conditional, Part

Found = TypeVar("Found")


def once(compute: Callable[[], Found]) -> Callable[[], Found]:
    """`compute` for whoever asks first, and its result for all others.

    Whenever that is, the result carries the gradients of the time when the draw was made. Not functools.cache, which
    torch.compile does not see through.
    """
    grads = torch.is_grad_enabled()
    found: list[Found] = []

    def asked() -> Found:
        if not found:
            with torch.set_grad_enabled(grads):
                found.append(compute())
        return found[0]

    return asked


@dataclass(frozen=True)
class Draw:
    """K draws for each of B examples.

    Attributes:
        batch: the examples.
        z: one (K, B, *latent) for each latent layer.
        log_px: (K, B) log p(x|z).
        log_mass: (K, B) how much each draw counts: -log K when sampled, log q(y|x) when enumerated.
        densities: gives (log_q, log_p), computed when somebody first asks: the ELBO does not.
        divergences: gives kl, likewise: an autoencoder has none.
        output: p(x|z), batch shape (K, B).
        posterior: q(z|x), batch shape (B,); None for models with several layers.
        prior: p(z), batch shape () or (B,); None for models with several layers.
        covers: whether q(z|x) is positive wherever p(z) is; if not, as with chosen codes, weights tell of a bound alone.
        rated: whether q(z|x) has a density with respect to the prior; if not, rate and log_q are infinite and raise.
    """

    batch: Batch
    z: tuple[Tensor, ...]
    log_px: Tensor
    log_mass: Tensor
    densities: Callable[[], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
    divergences: Callable[[], tuple[Tensor, ...]]
    output: Distribution
    posterior: Distribution | None = None
    prior: Distribution | None = None
    rated: bool = True
    covers: bool = True

    @property
    def whole(self) -> bool:
        """Whether these are all examples of the step's batch, and not a part of them that a process makes by itself."""
        return self.batch.peers is None

    @property
    def place(self) -> slice:
        """Where the examples of this draw are in what `gather` gives."""
        return slice(0, len(self.batch.x)) if self.batch.peers is None else self.batch.peers.place

    def gather(self, values: Tensor, dim: int = 0) -> Tensor:
        """`values`, which have an example in each place along `dim`, for all examples of the step's batch, with gradient.

        A term that reads across the batch reads it by this, and a part does so in its `update`, before it changes
        anything: whatever asks may be asked anew once the other parts of the batch are known.
        """
        return values if self.batch.peers is None else self.batch.peers.gather(values, dim)

    def stack(self, values: Tensor) -> Tensor:
        """(parts, *shape) `values` (*shape) of each part that the step's batch is made in, with gradient."""
        return values.unsqueeze(0) if self.batch.peers is None else self.batch.peers.stack(values)

    @property
    def log_q(self) -> tuple[Tensor, ...]:
        """(K, B) for each layer, log q of this very draw."""
        return self.densities()[0]

    @property
    def log_p(self) -> tuple[Tensor, ...]:
        """(K, B) for each layer, log p of this very draw."""
        return self.densities()[1]

    @property
    def kl(self) -> tuple[Tensor, ...]:
        """(K, B) for each layer, KL(q || p) in closed form where there is one, else log_q - log_p."""
        return self.divergences()

    @property
    def log_w(self) -> Tensor:
        """(K, B) log importance weights, log p(x, z) - log q(z|x)."""
        return self.log_px + sum(p - q for p, q in zip(self.log_p, self.log_q, strict=True))

    @property
    def rate(self) -> Tensor:
        """(B,) the mean over draws of the sum over layers of the KL."""
        kl = self.kl
        return self.mean(torch.stack(kl).sum(0) if len(kl) > 1 else kl[0])

    @property
    def distortion(self) -> Tensor:
        """(B,) the mean over draws of -log p(x|z), constants included."""
        return -self.mean(self.log_px)

    def mean(self, values: Tensor) -> Tensor:
        """(B,) the mean of `values` (K, B) over draws, each counted by its mass."""
        return values[0] if len(values) == 1 else (self.log_mass.exp() * values).sum(0)


class Model(Part):
    """What objectives, the loop, evaluation and generation know of a model.

    Attributes:
        prior: p(z), for a model with several layers that of the first one.
    """

    prior: Conditional

    @property
    @abstractmethod
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces of x that it is for."""

    @property
    @abstractmethod
    def normalised(self) -> bool:
        """Whether log p(x|z) is a log-likelihood of x."""

    @abstractmethod
    def draw(self, batch: Batch, samples: int = 1, gradient: Gradient = "pathwise") -> Draw:
        """`samples` draws of z for each example, carrying gradient as `gradient` says."""

    @abstractmethod
    def log_joint(self, batch: Batch, z: Tensor) -> Tensor:
        """(K, B) log p(x, z) for z (K, B, *latent)."""

    @abstractmethod
    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """q(z|x) for x (B, *event), for a model with several layers that of the first one."""

    @abstractmethod
    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """p(x|z) for z (*lead, *latent), batch shape lead; a model with several layers takes the rest at their means."""

    @abstractmethod
    def sample(self, n: int, context: Tensor | None = None, seed: int | None = None, mean: bool = False) -> Tensor:
        """(n, *event) x from the model."""
