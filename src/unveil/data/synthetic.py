"""Data whose truth is known: x = W z + b + noise with z standard normal, so that log p(x) is a closed form.

An estimate of log p(x) is correct when it meets this one; that is what the data are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from unveil.data.arrays import from_arrays
from unveil.data.dataset import Dataset
from unveil.errors import SettingError
from unveil.randomness import generator


@dataclass(frozen=True)
class LinearGaussian:
    r"""The linear-Gaussian latent variable model.

    .. math:: z \sim N(0, I_D), \quad x \mid z \sim N(W z + b, \sigma^2 I)

    Attributes:
        weight: (E, D) W.
        bias: (E,) b.
        scale: sigma, positive.

    Source: Tipping & Bishop 1999, Probabilistic Principal Component Analysis.
    """

    weight: Tensor
    bias: Tensor
    scale: float

    @classmethod
    def draw(cls, size: int, latent: int, scale: float = 0.5, seed: int = 0) -> LinearGaussian:
        """A model with W entries N(0, 1/D) and b entries N(0, 1), as a function of `seed`."""
        if size < 1 or latent < 1 or scale <= 0:
            raise SettingError(f"size {size}, latent {latent} and scale {scale} must all be positive")
        source = generator(seed, "linear-gaussian", size, latent)
        weight = torch.randn(size, latent, generator=source) / latent**0.5
        return cls(weight, torch.randn(size, generator=source), scale)

    @cached_property
    def marginal(self) -> MultivariateNormal:
        """p(x) = N(b, W W' + sigma^2 I), in float64."""
        weight = self.weight.double()
        cov = weight @ weight.T + self.scale**2 * torch.eye(len(weight), dtype=torch.float64)
        return MultivariateNormal(self.bias.double(), cov)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """(B,) exact log p(x) in nats, float64, for x (B, E)."""
        return self.marginal.log_prob(x.double())

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x), batch (B,) over D dimensions, in float64; its covariance is the same for every x (B, E)."""
        weight = self.weight.double()
        precision = torch.eye(weight.shape[1], dtype=torch.float64) + weight.T @ weight / self.scale**2
        cov = torch.linalg.inv(precision)
        mean = (x.double() - self.bias.double()) @ weight @ cov / self.scale**2
        return MultivariateNormal(mean, covariance_matrix=cov.expand(*mean.shape[:-1], -1, -1))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """(n, E) float32 examples as a function of `seed`."""
        source = generator(seed, "linear-gaussian sample", n)
        z = torch.randn(n, self.weight.shape[1], generator=source)
        noise = torch.randn(n, len(self.bias), generator=source)
        return z @ self.weight.T + self.bias + self.scale * noise

    def dataset(self, n: int = 10_000, seed: int = 0) -> Dataset:
        """`n` examples as a data set."""
        return from_arrays(self.sample(n, seed), name="linear-gaussian")
