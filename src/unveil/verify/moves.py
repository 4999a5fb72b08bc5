"""Two ways to hold samples to a density: weights that must have mean 1, and moves that must lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from unveil.distributions import DiagonalGaussian, Mixture, surface_of
from unveil.distributions.surface import Counted
from unveil.verify.check import Gap

SHRINK = 0.9
"""By how much a fitted g is narrower than the samples, so that g / p stays small in the tails."""
UNEVEN = 10.0
"""E[w^2] / E[w]^2 above which weights w = g / p are too uneven for a mean of them."""
BLIND = 3.0
"""The same where only the samples' own densities are known, and what g looks at outside of them is not."""
HALVES = 6
"""Random halves of a mixture's components."""
SIZES = (0.1, 0.5, 1.5)
"""Of moves, in standard deviations."""
FUNCTIONS = 3
"""Random directions whose means and squares must stay."""

Density = Callable[[Tensor], Tensor]


def importance(what: str, p: Distribution, z: Tensor, log_p: Tensor, apart: Tensor, ask: Density | None) -> list[Gap]:
    """E[g(z) / p(z)] = 1 over samples `z` (n, *event) with densities `log_p` (n,).

    For a mixture g is a random half of its components, which keeps g / p below 1 / their weight. Otherwise g is a Gaussian
    fitted to the independent samples `apart`, where its weights are even enough; of a curved or counted z there is none.

    Args:
        what: whose samples they are.
        p: the distribution.
        z: the samples.
        log_p: (n,) their densities.
        apart: (m, *event) other samples of the same.
        ask: the density anywhere; None where it is known at the samples alone.
    """
    gaps = []
    if isinstance(p, Mixture) and p.components.batch_shape.numel() > 1:
        gaps += [_half(what, p, z, log_p, turn) for turn in range(HALVES)]
    if surface_of(p) is None and bool(z.isfinite().all()):
        found = _fitted(what, z, log_p, apart, ask)
        gaps += [] if found is None else [found]
    return gaps


def _half(what: str, p: Mixture, z: Tensor, log_p: Tensor, turn: int) -> Gap:
    weights = p.log_weights.reshape(-1, p.log_weights.shape[-1])[0]
    counted = (weights > -torch.inf).nonzero().flatten()
    order = counted[torch.randperm(len(counted), generator=torch.Generator().manual_seed(turn))]
    rest = torch.full_like(weights, -torch.inf)
    half = order[: max(1, len(order) // 2)]
    rest[half] = weights[half]
    log_g = Mixture((rest - rest.logsumexp(0)).expand(p.log_weights.shape), p.components).log_prob(
        z.unsqueeze(1) if p.batch_shape else z
    )
    ratio = (log_g.reshape(len(z)).double() - log_p).exp()
    return Gap.over(f"E of a half of the components of {what} over all of it, against 1, half {turn}", ratio - 1, 1e-3, "")


def _fitted(what: str, z: Tensor, log_p: Tensor, apart: Tensor, ask: Density | None) -> Gap | None:
    flat, fit = z.flatten(1).double(), apart.flatten(1).double()
    spread = fit.std(0)
    if not bool((spread > 1e-6 * (1 + fit.mean(0).abs())).all()):
        return None
    scale = SHRINK**0.5 if flat.shape[1] > 8 else SHRINK
    candidates: list[Any] = [DiagonalGaussian(fit.mean(0), (scale * spread).log())]
    if len(fit) > 20 * fit.shape[1] > 20:
        candidates.append(MultivariateNormal(fit.mean(0), scale**2 * torch.cov(fit.T), validate_args=False))
    best = None
    for g in candidates:
        ratio = (g.log_prob(flat) - log_p).exp()
        mean = ratio.mean()
        uneven = float(ratio.square().mean() / mean**2)
        if ask is not None:  # E_p[(g / p)^2] is E_g[g / p], which also sees where p draws nothing
            drawn = g.sample(torch.Size([min(512, len(flat))]))
            there = (g.log_prob(drawn) - ask(drawn.reshape(-1, *z.shape[1:]).to(z.dtype))).exp()
            uneven = max(uneven, float(there.mean() / mean))
        if best is None or uneven < best[0]:
            best = (uneven, ratio)
    assert best is not None
    uneven, ratio = best
    if not uneven < (BLIND if ask is None else UNEVEN):
        return None
    return Gap.over(f"E of a fitted density over {what}, against 1", ratio - 1, 2e-3, "")


def balance(subject: Any, what: str, p: Distribution, z: Tensor, log_p: Density) -> list[Gap]:
    """Moves that keep p, made once from samples of p, change no mean in expectation.

    A proposal that is as likely as its reverse is taken with probability p(z') / (p(z) + p(z')), which leaves p as it is.
    Real z are moved along random directions; counted ones change two of their places, a move that is its own reverse.

    Source: Barker 1965, Monte Carlo calculations of the radial distribution functions for a proton-electron plasma.
    """
    surface, gaps = surface_of(p), []
    here = log_p(z)
    flat = z.flatten(1).double()
    centre, spread = flat.mean(0), flat.std(0) + 1e-12
    if surface is None:
        proposals = []
        for size in SIZES:
            noise = torch.randn(flat.shape, generator=subject.generator(what, "move", str(size)), dtype=torch.float64)
            step = size * spread * noise / max(1.0, flat.shape[1] ** 0.5)
            proposals.append((f"moves of {size} deviations", (flat + step).reshape(z.shape).to(z.dtype)))
    elif isinstance(surface, Counted) and z.dim() == 3 and z.shape[1] > 1:
        order = torch.arange(z.shape[1])
        first, second = torch.randperm(len(order), generator=subject.generator(what, "swap"))[:2].tolist()
        order[first], order[second] = second, first
        proposals = [("an exchange of two places", z[:, order])]
    else:
        return []
    direction = torch.randn(flat.shape[1], FUNCTIONS, generator=subject.generator(what, "direction"), dtype=torch.float64)
    direction = direction / direction.norm(dim=0)

    def seen(value: Tensor) -> Tensor:
        """(n, 2 FUNCTIONS) bounded means and squares along the directions."""
        along = ((value.flatten(1).double() - centre) / spread) @ direction
        return torch.cat([torch.tanh(along), torch.tanh(along.square() - 1)], 1)

    before = seen(z)
    for name, moved in proposals:
        taken = torch.sigmoid(log_p(moved) - here)
        gain = torch.where(taken[:, None] > 0, taken[:, None] * (seen(moved) - before), 0.0)
        gaps += [
            Gap.over(f"what {name} make of a mean under {what}, no. {place}", gain[:, place], 1e-4, "")
            for place in range(gain.shape[1])
        ]
    return gaps
