r"""Hamiltonian moves of z along a path of densities, from one that can be drawn from to the joint density p(x, z).

.. math:: f_\beta(z) = p_0(z) \left(\frac{p(x, z)}{p_0(z)}\right)^\beta

A *path* fixes p_0 for a batch of x, a *state* is where the chains are on it, and `move` takes them to new z in a way that
leaves f_beta what it is. How long the steps are a *pilot* finds out on its way along the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution

from unveil.data import Batch
from unveil.distributions import Delta
from unveil.errors import SettingError
from unveil.models import VAE
from unveil.models.latent import check_comparable

TARGET = 0.7
"""Share of moves that is to be accepted: near what costs least, and the better side to err on."""
JITTER = 0.2
"""Each move's step is this much longer or shorter at most, by chance: a trajectory of fixed length may be a full circle."""
PILOTS = 8
"""Chains of a pilot for each image."""
WAY = 100
"""Least number of moves that a pilot makes along the whole path."""
SETTLING = 20
"""Moves that it makes at the first temperature, until the step it began with is forgotten."""
SPREAD = 1_000
"""Draws from p_0 that tell how wide it is."""
GAIN = 0.5
"""How far the logarithm of a step moves for each unit that the acceptance is off; the first moves go twice as far."""


@dataclass(frozen=True)
class Path:
    """Where chains begin, and what leads from there to p(x, z), for the B examples of a batch.

    Attributes:
        start: p_0, batch shape () or (B,), with a density over real vectors.
        log_ratio: gives log p(x, z) - log p_0(z) (M, B) for z (M, B, D).
        size: B.
        name: of p_0, for the record.
    """

    start: Distribution
    log_ratio: Callable[[Tensor], Tensor]
    size: int
    name: str

    def draw(self, chains: int) -> State:
        """`chains` = M values of z from p_0 for each example."""
        whole = (chains,) if self.start.batch_shape else (chains, self.size)
        return self.at(self.start.sample(torch.Size(whole)))

    def at(self, z: Tensor) -> State:
        """The state of chains that are at z (M, B, D).

        Raises:
            SettingError: log p(x|z) has no gradient in z.
        """
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            # torch's counter of operations hangs hooks on what modules are given, and cannot bear a leaf there
            log_start, log_ratio = self.start.log_prob(point.view_as(point)), self.log_ratio(point.view_as(point))
            if not log_ratio.requires_grad:
                raise SettingError("log p(x|z) has no gradient in z here, which Hamiltonian moves follow")
            (uphill,) = torch.autograd.grad(log_start.sum(), point, retain_graph=True)
            (further,) = torch.autograd.grad(log_ratio.sum(), point)
        return State(point.detach(), _exact(log_start), _exact(log_ratio), uphill, further)


@dataclass(frozen=True)
class State:
    """M chains for each of B examples, and what is known of the densities where they are.

    Attributes:
        z: (M, B, D).
        log_start: (M, B) log p_0(z), float64 on the CPU: differences of large numbers decide whether a move is accepted.
        log_ratio: (M, B) log p(x, z) - log p_0(z), likewise.
        uphill: (M, B, D) the gradient of log_start.
        further: (M, B, D) the gradient of log_ratio.
    """

    z: Tensor
    log_start: Tensor
    log_ratio: Tensor
    uphill: Tensor
    further: Tensor

    def log_density(self, beta: float) -> Tensor:
        """(M, B) log f_beta."""
        return self.log_start + beta * self.log_ratio

    def force(self, beta: float) -> Tensor:
        """(M, B, D) the gradient of log f_beta."""
        return self.uphill + beta * self.further

    def moved(self, to: State, where: Tensor) -> State:
        """The chains of `to` where `where` (M, B) is true, else these."""
        there = where.to(self.z.device).unsqueeze(-1)
        return State(
            torch.where(there, to.z, self.z),
            torch.where(where, to.log_start, self.log_start),
            torch.where(where, to.log_ratio, self.log_ratio),
            torch.where(there, to.uphill, self.uphill),
            torch.where(there, to.further, self.further),
        )


def from_prior(model: VAE, batch: Batch) -> Path:
    """p_0 = p(z), hence f_beta = p(z) p(x|z)^beta.

    An estimate then owes nothing to the encoder: no blind spot of q(z|x) can hide in it. Where x is counted, p(x|z) is at
    most one, and so is every weight: their variance is finite whatever the model.
    """

    def log_ratio(z: Tensor) -> Tensor:
        return model.decode(z, batch.context).log_prob(batch.x)

    return Path(model.prior(None, batch.context), log_ratio, len(batch.index), "p(z)")


def from_posterior(model: VAE, batch: Batch) -> Path:
    """p_0 = q(z|x), hence f_beta = q(z|x)^(1 - beta) p(x, z)^beta.

    A shorter way where the encoder is good. Where q has lighter tails than p(z|x) the weights may have no finite variance,
    and the chains' spread then says too little of the error.

    Raises:
        SettingError: q(z|x) has no density, or one that is known at its own draws alone.
    """
    prior, start = model.prior(None, batch.context), model.encode(batch.x, batch.context)
    if isinstance(start, Delta):
        raise SettingError("chains cannot begin at a Delta posterior, which has no density; begin at the prior")
    check_comparable(start, prior)

    def log_ratio(z: Tensor) -> Tensor:
        joint = model.decode(z, batch.context).log_prob(batch.x) + prior.log_prob(z)
        return joint - start.log_prob(z)

    return Path(start, log_ratio, len(batch.index), "q(z|x)")


@dataclass(frozen=True)
class Moves:
    """Steps for each of S temperatures. They do not change once they are made.

    Attributes:
        sizes: (S, B) leapfrog steps, in units of `scale`.
        scale: (D,) or (B, D) standard deviations of p_0, of a sample.
        leapfrogs: steps in one move.
    """

    sizes: Tensor
    scale: Tensor
    leapfrogs: int

    def steps(self, place: int) -> Tensor:
        """(B, D) the steps at temperature number `place`."""
        return self.sizes[place].unsqueeze(-1) * self.scale


def move(path: Path, state: State, beta: float, steps: Tensor, leapfrogs: int) -> tuple[State, Tensor]:
    r"""One Hamiltonian move of every chain, which leaves f_beta invariant and is reversible under it.

    .. math:: H(z, \rho) = -\log f_\beta(z) + |\rho|^2 / 2, \quad \rho \sim N(0, I), \quad
        \text{accepted with probability } \min(1, e^{H(z, \rho) - H(z', \rho')})

    Leapfrog steps keep volumes and can be walked back, whatever force drives them, so acceptance makes the move exact
    however long the steps are. z moves in units of `steps`, which amounts to a mass of each dimension. A trajectory that
    leaves the numbers is not accepted.

    Args:
        path: the densities.
        state: where the chains are.
        beta: which density.
        steps: (B, D), independent of where the chains are.
        leapfrogs: steps in the move.

    Returns:
        The new state, and the probability (M, B) with which each chain's move was accepted.

    Source: Neal 2011, MCMC using Hamiltonian Dynamics, arXiv:1206.1901.
    """
    rho = torch.randn_like(state.z)
    chance = 1 + JITTER * (2 * torch.rand(state.z.shape[:2], device=rho.device) - 1)
    steps = chance.unsqueeze(-1) * steps
    before = state.log_density(beta) - _kinetic(rho)
    end = state
    rho = rho + 0.5 * steps * end.force(beta)
    for left in reversed(range(leapfrogs)):
        end = path.at(end.z + steps * rho)
        rho = rho + (steps if left else 0.5 * steps) * end.force(beta)
    gain = end.log_density(beta) - _kinetic(rho) - before
    return state.moved(end, accepted(gain)), gain.clamp(max=0).exp().nan_to_num(0)


def accepted(gain: Tensor) -> Tensor:
    """Whether to accept moves that lose or `gain` so much log-density of z and momentum; never where that is NaN."""
    return torch.rand(gain.shape, dtype=gain.dtype).log() < gain


def _kinetic(rho: Tensor) -> Tensor:
    return 0.5 * _exact(rho).square().sum(-1)


def _exact(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def pilot_moves(temperatures: int) -> int:
    """How often `pilot` moves its chains for so many temperatures."""
    tries = -(-WAY // temperatures)
    return max(SETTLING, tries) + (temperatures - 1) * tries


def pilot(path: Path, betas: Sequence[float], leapfrogs: int) -> Moves:
    r"""Find step sizes for each example and each of the temperatures `betas`, in a run that counts for nothing else.

    Chains go along the path once. After every move the step becomes longer where more than `TARGET` were accepted, else
    shorter; each temperature begins with the step of the one before.

    .. math:: \log \epsilon \leftarrow \log \epsilon + \eta (\text{accepted} - 0.7)

    It looks at x alone, neither at the chains of the run that counts nor, on simulated data, at the z that x was made from.
    Steps that follow the chains they move depend on z, and then no move leaves f_beta what it is.
    """
    state, log_size, sizes = path.draw(PILOTS), torch.full((path.size,), log(0.5)), []
    # dimensions of no interest keep this spread on the whole way; one unit for all of z would be too long for a narrow one
    scale = path.start.sample(torch.Size([SPREAD])).std(0)
    tries = -(-WAY // len(betas))
    for place, beta in enumerate(betas):
        for turn in range(tries if place else max(SETTLING, tries)):
            steps = log_size.exp().to(scale).unsqueeze(-1) * scale
            state, rate = move(path, state, beta, steps, leapfrogs)
            gain = GAIN if place or turn >= SETTLING else 2 * GAIN
            log_size = log_size + gain * (rate.mean(0).float() - TARGET)
        sizes.append(log_size.exp())
    return Moves(torch.stack(sizes).to(scale), scale, leapfrogs)
