"""Posteriors refined by Hamiltonian dynamics, and the two ways in which their momentum may be distributed."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Split
from unveil.distributions import Hamiltonian
from unveil.errors import SettingError
from unveil.part import Conditional, Part, resting
from unveil.parts.heads import bounded

FACTOR = 3.0
"""Bound of the entries of a metric's factors."""


class EuclideanMomentum(Part):
    """rho ~ N(0, I) and the plain leapfrog: every move is a shear and keeps volumes."""

    def forward(self) -> EuclideanMomentum:
        """Itself: there is nothing to compute beforehand."""
        return self

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """rho like z (*lead, D), and its log-density."""
        rho = torch.randn_like(z)
        return rho, self.log_prob(z, rho)

    def log_prob(self, z: Tensor, rho: Tensor) -> Tensor:
        """(*lead) log N(rho; 0, I)."""
        return -0.5 * (rho.square() + log(2 * pi)).sum(-1)

    def volume(self, z: Tensor) -> float:
        """The normaliser is a constant."""
        return 0.0

    def kick(self, z: Tensor, rho: Tensor, force: Tensor, size: Tensor) -> tuple[Tensor, float]:
        """rho + size / 2 force."""
        return rho + 0.5 * size * force, 0.0

    def drift(self, z: Tensor, rho: Tensor, size: Tensor) -> tuple[Tensor, float]:
        """z + size rho."""
        return z + size * rho, 0.0

    settle = kick


class Riemannian:
    r"""rho ~ N(0, G(z)) and the generalised leapfrog, for an inverse metric that rises around centroids.

    .. math:: G^{-1}(z) = \sum_c S_c \exp(-\|z - \mu_c\|^2 / T^2) + \lambda I

    Two of its three moves are implicit and are solved by a fixed number of fixed-point iterations. Solved exactly, the
    three determinants cancel. Stopped early, they do not, so each is computed, for the iterations as they were done: the
    density is exact however many there are, as long as each move is injective (size times |rho| times the slope of
    G^-1 small against one).

    Args:
        centres: (C, D) mu.
        factors: (C, D, D) F with S = F F'.
        temperature: T.
        floor: lambda.
        iterations: of each implicit move, at least 1.

    Source: Girolami & Calderhead 2011, Riemann Manifold Langevin and Hamiltonian Monte Carlo Methods; Chadebec et al. 2020,
    Geometry-Aware Hamiltonian Variational Auto-Encoder, arXiv:2010.11518.
    """

    def __init__(self, centres: Tensor, factors: Tensor, temperature: float, floor: float, iterations: int = 3) -> None:
        self.centres, self.temperature, self.floor, self.iterations = centres, temperature, floor, iterations
        with torch.autocast(centres.device.type, enabled=False):
            self.spreads = factors.float() @ factors.float().mT
        self.identity = torch.eye(centres.shape[1], device=centres.device)

    def _bumps(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """exp(-|z - mu|^2 / T^2), (*lead, C), and its gradient in z, (*lead, C, D)."""
        gap = z.unsqueeze(-2) - self.centres
        bump = (-gap.square().sum(-1) / self.temperature**2).exp()
        return bump, -2 / self.temperature**2 * gap * bump.unsqueeze(-1)

    def inverse(self, z: Tensor) -> Tensor:
        """(*lead, D, D) G^-1."""
        # the metric is small, and its factors must be exact: no autocast here or below
        with torch.autocast(z.device.type, enabled=False):
            return torch.einsum("...c,cij->...ij", self._bumps(z)[0], self.spreads) + self.floor * self.identity

    def _slope(self, z: Tensor, rho: Tensor) -> Tensor:
        """(*lead, D, D) the Jacobian of G^-1(z) rho in z; half of its transpose times rho is the pull of the metric."""
        with torch.autocast(z.device.type, enabled=False):
            return torch.einsum("cij,...j,...ck->...ik", self.spreads, rho, self._bumps(z)[1])

    def _root(self, z: Tensor) -> Tensor:
        # a z that is no number is to be seen by whoever guards the step, not to end the training
        root, wrong = torch.linalg.cholesky_ex(self.inverse(z))
        return torch.where(wrong[..., None, None] != 0, torch.nan, root)

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """rho and its log-density."""
        noise = torch.randn_like(z)
        root = self._root(z)
        rho = torch.linalg.solve_triangular(root.mT, noise.unsqueeze(-1), upper=True).squeeze(-1)
        return rho, (root.diagonal(dim1=-2, dim2=-1).log() - 0.5 * (noise.square() + log(2 * pi))).sum(-1)

    def log_prob(self, z: Tensor, rho: Tensor) -> Tensor:
        """(*lead) log N(rho; 0, G(z))."""
        root = self._root(z)
        whitened = _times(root.mT, rho)
        return (root.diagonal(dim1=-2, dim2=-1).log() - 0.5 * (whitened.square() + log(2 * pi))).sum(-1)

    def volume(self, z: Tensor) -> Tensor:
        """(*lead) -log det G(z) / 2."""
        return self._root(z).diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def kick(self, z: Tensor, rho: Tensor, force: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """The solution r of r = rho + size / 2 (force - pull(z, r))."""
        return self._pulled(z, rho, force, 0.5 * size, self.iterations)

    def settle(self, z: Tensor, rho: Tensor, force: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """rho + size / 2 (force - pull(z, rho))."""
        return self._pulled(z, rho, force, 0.5 * size, 1)

    def _pulled(self, z: Tensor, rho: Tensor, force: Tensor, half: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
        found, jacobian = rho, self.identity.expand(*rho.shape, -1)
        for _ in range(iterations):
            slope = self._slope(z, found).mT
            found = rho + half * (force - 0.5 * _times(slope, found))
            jacobian = self.identity - half.unsqueeze(-1) * _product(slope, jacobian)
        return found, torch.linalg.slogdet(jacobian).logabsdet

    def drift(self, z: Tensor, rho: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """The solution y of y = z + size / 2 (G^-1(z) + G^-1(y)) rho."""
        half = 0.5 * size
        start, first = _times(self.inverse(z), rho), self._slope(z, rho)
        found, jacobian = z, self.identity.expand(*z.shape, -1)
        for _ in range(self.iterations):
            jacobian = self.identity + half.unsqueeze(-1) * (first + _product(self._slope(found, rho), jacobian))
            found = z + half * (start + _times(self.inverse(found), rho))
        return found, torch.linalg.slogdet(jacobian).logabsdet


def _product(one: Tensor, other: Tensor) -> Tensor:
    with torch.autocast(one.device.type, enabled=False):
        return one @ other


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return _product(matrix, vector.unsqueeze(-1)).squeeze(-1)


class CentroidMomentum(Part):
    """The momentum of a metric that rises around posterior means of training examples: see `Riemannian`.

    Before each epoch the centroids move to the posterior means of rows spread evenly over the training split; the factors
    that belong to them are learned. Until then they lie at zero.

    Args:
        posterior: q(z_0|x), shared with the posterior that is refined.
        latent: D.
        centroids: C.
        temperature: T, how far a centroid reaches.
        floor: lambda, the metric far from all of them; positive.
        iterations: of each implicit move, at least 1.

    Source: Chadebec et al. 2020, Geometry-Aware Hamiltonian Variational Auto-Encoder, arXiv:2010.11518.
    """

    centres: Tensor

    def __init__(
        self,
        posterior: Conditional,
        latent: int,
        centroids: int = 50,
        temperature: float = 1.5,
        floor: float = 0.1,
        iterations: int = 3,
    ) -> None:
        super().__init__()
        if min(centroids, iterations) < 1 or min(temperature, floor) <= 0:
            raise SettingError(
                f"a metric of {centroids} centroids, temperature {temperature}, floor {floor} and {iterations} iterations "
                "is none; give positive numbers"
            )
        self.posterior, self.latent, self.centroids = posterior, latent, centroids
        self.temperature, self.floor, self.iterations = temperature, floor, iterations
        self.factors = nn.Parameter((torch.eye(latent) * centroids**-0.5).repeat(centroids, 1, 1))
        self.register_buffer("centres", torch.zeros(centroids, latent))

    def forward(self) -> Riemannian:
        """The metric as it is."""
        factors = bounded(self.factors.tril(), FACTOR)  # lower triangles are enough for every S
        return Riemannian(self.centres, factors, self.temperature, self.floor, self.iterations)

    @torch.no_grad()
    def prepare(self, data: Split, t: float) -> None:
        """Let the centroids be posterior means of today."""
        rows = torch.linspace(0, len(data) - 1, self.centroids).long().to(data.values.device)
        chosen = data.subset(rows)
        with resting(self):
            x = chosen.reading.mean(chosen.values[:]).to(self.centres.device)
            self.centres.copy_(self.posterior(x, chosen.context).mean)


class HamiltonianPosterior(Part):
    """q(z|x): draws of a base posterior, moved by leapfrog steps along log p(x, z); see `Refined` for its density.

    Step sizes, one for each step and dimension, and the cooling are learned.

    Args:
        posterior: the base q(z_0|x).
        momentum: EuclideanMomentum() or CentroidMomentum(...).
        latent: D.
        steps: leapfrog steps, at least 1; each costs a gradient of log p(x|z) in z.
        size: step size to begin with.
        largest: the bound of step sizes.
        cooling: the root of the inverse temperature to begin with, in (0, 1).

    Source: Caterini et al. 2018, Hamiltonian Variational Auto-Encoder, arXiv:1805.11328; Chadebec et al. 2020,
    arXiv:2010.11518.
    """

    def __init__(
        self,
        posterior: Conditional,
        momentum: Part,
        latent: int,
        steps: int = 3,
        size: float = 0.05,
        largest: float = 0.25,
        cooling: float = 0.7,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise SettingError(f"{steps} leapfrog steps lead nowhere; give at least 1, or leave the posterior as it is")
        if not 0 < size < largest or not 0 < cooling < 1:
            raise SettingError(
                f"steps of {size} below {largest} and a cooling of {cooling} cannot be; "
                "give a positive size below the largest, and a cooling between 0 and 1"
            )
        self.posterior, self.momentum, self.latent, self.steps = posterior, momentum, latent, steps
        self.size, self.largest, self.cooling = size, largest, cooling
        self.raw_sizes = nn.Parameter(torch.full((steps, latent), log(size / (largest - size))))
        self.raw_cooling = nn.Parameter(torch.tensor(log(cooling / (1 - cooling))))

    def forward(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        sizes = self.largest * torch.sigmoid(self.raw_sizes)
        return Hamiltonian(self.posterior(given, context, leading), self.momentum(), sizes, torch.sigmoid(self.raw_cooling))
