"""Gaussian variables that depend on each other: through a full Cholesky factor, or through a few directions.

In both, z = loc + scale * v, where v is a mixture of independent standard normal variables whose coefficients `factor`
are free of units: bounding them bounds every correlation, and so how badly conditioned the covariance can become.
"""

from __future__ import annotations

from abc import abstractmethod
from math import log, pi
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from unveil.distributions.gaussian import DiagonalGaussian


class CorrelatedGaussian(Distribution):
    """Gaussian variables over an event of D numbers, N(loc, S M S) with S = diag(exp(log_scale)).

    M, the covariance of v, is what a final class makes of `factor`.

    Args:
        loc: (*batch, *event) means.
        log_scale: (*batch, D) logarithms of S.
        factor: (*batch, D, R) coefficients.
        event_dims: how many trailing dimensions are the event, at least 1.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor, factor: Tensor, event_dims: int = 1) -> None:
        self.loc, self.log_scale, self.factor, self.event_dims = loc, log_scale, factor, event_dims
        self.scale = log_scale.exp()
        split = loc.dim() - event_dims
        super().__init__(loc.shape[:split], loc.shape[split:], validate_args=False)

    @abstractmethod
    def _mixed(self, shape: torch.Size) -> Tensor:
        """(*shape, *batch, D) v."""

    @abstractmethod
    def _squares(self, v: Tensor) -> Tensor:
        """(*batch, n) v' M^-1 v of the columns of v (*batch, D, n)."""

    @abstractmethod
    def _volume(self) -> Tensor:
        """(*batch) half the logarithm of det M."""

    @property
    def mean(self) -> Tensor:
        """(*batch, *event)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """(*batch, *event)."""
        return (self.scale.square() * (1 + self.factor.square().sum(-1))).reshape(self.loc.shape)

    @property
    def stddev(self) -> Tensor:
        """(*batch, *event)."""
        return self.variance.sqrt()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """(*sample_shape, *batch, *event) loc + scale * v."""
        return self._placed(self._mixed(torch.Size(sample_shape)))

    def _placed(self, v: Tensor) -> Tensor:
        return self.loc + (self.scale * v).unflatten(-1, self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch) nats; `value` broadcasts against the batch."""
        v = (value - self.loc).flatten(-self.event_dims) / self.scale
        batch = len(self.batch_shape)
        # the draws become columns, so that one factor serves all of them
        columns = v.reshape(-1, *v.shape[v.dim() - 1 - batch :]).movedim(0, -1)
        with torch.autocast(v.device.type, enabled=False):
            squares = self._squares(columns).movedim(-1, 0).reshape(v.shape[:-1])
        return self._density(squares)

    def _density(self, squares: Tensor) -> Tensor:
        return -0.5 * (squares + self.event_shape.numel() * log(2 * pi)) - self.half_log_det

    @property
    def half_log_det(self) -> Tensor:
        """(*batch) half the logarithm of the covariance's determinant."""
        return self.log_scale.sum(-1) + self._volume()

    def entropy(self) -> Tensor:
        """(*batch) nats."""
        return self.half_log_det + 0.5 * self.event_shape.numel() * (1 + log(2 * pi))

    def detach(self) -> Self:
        """The same distribution; no gradient reaches its parameters."""
        return type(self)(self.loc.detach(), self.log_scale.detach(), self.factor.detach(), self.event_dims)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same distribution with its batch broadcast to `batch_shape`."""
        loc = self.loc.expand(*batch_shape, *self.event_shape)
        log_scale = self.log_scale.expand(*batch_shape, -1)
        return type(self)(loc, log_scale, self.factor.expand(*batch_shape, -1, -1), self.event_dims)


class FullGaussian(CorrelatedGaussian):
    r"""A Gaussian with a full covariance, whose Cholesky factor is S (I + A).

    .. math:: z = \mu + S (I + A) \epsilon, \quad \epsilon \sim N(0, I)

    Its `factor` is A (*batch, D, D), strictly lower triangular. A draw's own density is had without solving for epsilon.
    """

    def _mixed(self, shape: torch.Size) -> Tensor:
        return self._mixture(self._noise(shape))

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(*shape, *self.log_scale.shape, device=self.loc.device, dtype=self.loc.dtype)

    def _mixture(self, noise: Tensor) -> Tensor:
        return noise + _times(self.factor, noise)

    def _squares(self, v: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, v, upper=False, unitriangular=True).square().sum(-2)

    def _volume(self) -> Tensor:
        return torch.zeros_like(self.log_scale[..., 0])

    def rsample_and_log_prob(self, shape: Any = ()) -> tuple[Tensor, Tensor]:
        """z (*shape, *batch, *event) and log q (*shape, *batch) of this very z, from its noise."""
        noise = self._noise(torch.Size(shape))
        return self._placed(self._mixture(noise)), self._density(noise.square().sum(-1))


class LowRankGaussian(CorrelatedGaussian):
    r"""Independent Gaussians that R further directions bind together: covariance S^2 + U U' with U = S W.

    .. math:: z = \mu + S (\epsilon + W \eta), \quad \epsilon \sim N(0, I_D), \quad \eta \sim N(0, I_R)

    Its `factor` is W (*batch, D, R). Densities go through the capacitance C = I + W'W of R rows instead of D.

    Source: Woodbury 1950, Inverting Modified Matrices.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, factor: Tensor, event_dims: int = 1) -> None:
        super().__init__(loc, log_scale, factor, event_dims)
        with torch.autocast(loc.device.type, enabled=False):
            capacitance = factor.mT @ factor + torch.eye(factor.shape[-1], device=loc.device, dtype=loc.dtype)
        # without torch's own check, which waits for the device: I + W'W has a Cholesky factor where W is bounded
        self._root = torch.linalg.cholesky_ex(capacitance).L

    def _mixed(self, shape: torch.Size) -> Tensor:
        lead, (size, rank) = (*shape, *self.batch_shape), self.factor.shape[-2:]
        noise = torch.randn(*lead, size + rank, device=self.loc.device, dtype=self.loc.dtype)
        return noise[..., :size] + _times(self.factor, noise[..., size:])

    def _squares(self, v: Tensor) -> Tensor:
        # the least |eta|^2 + |v - W eta|^2: Woodbury's difference of two large squares would lose every digit
        eta = torch.cholesky_solve(self.factor.mT @ v, self._root)
        return eta.square().sum(-2) + (v - self.factor @ eta).square().sum(-2)

    def _volume(self) -> Tensor:
        return self._root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _times(matrix: Tensor, vectors: Tensor) -> Tensor:
    """(*shape, *batch, D) products of matrices (*batch, D, R) and vectors (*shape, *batch, R), in full precision."""
    with torch.autocast(matrix.device.type, enabled=False):
        rows = vectors.reshape(-1, *matrix.shape[:-2], matrix.shape[-1])
        return torch.einsum("...ij,n...j->n...i", matrix, rows).reshape(*vectors.shape[:-1], matrix.shape[-2])


@register_kl(CorrelatedGaussian, DiagonalGaussian)
def _divergence(q: CorrelatedGaussian, p: DiagonalGaussian) -> Tensor:
    excess = p._sum((q.variance + (q.loc - p.loc).square()) / p.variance)
    return 0.5 * (excess - q.event_shape.numel()) + p._sum(p.log_scale.expand_as(p.loc)) - q.half_log_det
