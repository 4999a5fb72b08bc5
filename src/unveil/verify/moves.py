"""Ways to hold samples to a density: weights that must have mean 1, means of logarithms that must lie on either side of 0,
and moves that must lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, isfinite, log
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from unveil.distributions import DiagonalGaussian, IndependentBernoulli, Mixture, surface_of
from unveil.distributions.surface import Counted
from unveil.distributions.von_mises_fisher import Sphere
from unveil.verify.check import Gap, note

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
LEAST, DIGITS = 2e-3, 2e-5
"""Nats that a bound may be off, and a share of what it is the difference of, by rounding."""
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
        gaps += fitted(what, z, log_p, apart, ask)
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


def fitted(what: str, z: Tensor, log_p: Tensor, apart: Tensor, ask: Density | None) -> list[Gap]:
    """E[g(z) / p(z)] = 1 for the g fitted to other samples that has the most even weights.

    Where none is even enough, as of several hundred entries, the logarithm of the integral of p is held between bounds.
    """
    flat, best = z.flatten(1).double(), (inf, log_p)
    candidates = _candidates(apart.flatten(1).double())
    if not candidates:
        return [note(f"normalisation of {what} not looked at: some entries do not vary")]
    for g in candidates:
        log_w = g.log_prob(flat) - log_p
        mean = log_w.logsumexp(0) - log(len(log_w))  # a wrong constant is no unevenness
        uneven = float((2 * (log_w - mean)).exp().mean())
        if ask is not None:  # E_p[(g / p)^2] is E_g[g / p], which also sees where p draws nothing
            drawn = g.sample(torch.Size([min(512, len(flat))]))
            there = (g.log_prob(drawn) - ask(drawn.reshape(-1, *z.shape[1:]).to(z.dtype)) - mean).exp()
            beyond = float(there.mean())
            uneven = max(uneven, beyond) if isfinite(beyond) else inf
        if uneven < best[0]:
            best = (uneven, log_w.exp())
    uneven, weights = best
    if not uneven < (BLIND if ask is None else UNEVEN):
        return enclosed(what, z, log_p, apart, ask)
    return [Gap.over(f"E of a fitted density over {what}, against 1", weights - 1, 2e-3, "")]


def enclosed(what: str, z: Tensor, log_p: Tensor, apart: Tensor, ask: Density | None) -> list[Gap]:
    r"""The logarithm of the integral of p, which is 0, between two means that no rare sample spoils.

    .. math:: E_g[\log p - \log g] \le \log \int p \le E_p[\log p - \log g]

    for the normalised g fitted to other samples whose upper bound is least; they are off by KL(g || p) and KL(p || g).
    For independent entries that is a few nats of a thousand entries, for others as much as they depend on each other.

    Source: Cover & Thomas 2006, Elements of Information Theory, theorem 2.6.3 (the information inequality).
    """
    flat = z.flatten(1).double()
    g = min(_candidates(apart.flatten(1).double(), 1.0), key=lambda one: -float(one.log_prob(flat).mean()))
    slack = LEAST + DIGITS * float(log_p.abs().max())
    name = f"log of the integral of {what}"
    gaps = [Gap.over(f"0, above an upper bound on the {name}", g.log_prob(flat) - log_p, slack, above=True)]
    if ask is not None:
        drawn = g.sample(torch.Size([len(flat)]))
        under = ask(drawn.reshape(-1, *z.shape[1:]).to(z.dtype)).double() - g.log_prob(drawn)
        if not bool((under == -inf).any()):  # else g is wider than the support, and the bound says nothing
            gaps.append(Gap.over(f"a lower bound on the {name}, above 0", under, slack, above=True))
    return gaps


def _candidates(fit: Tensor, shrink: float = SHRINK) -> list[Any]:
    """Densities fitted to samples (m, E): of zeros and ones, or Gaussians a little narrower than they are."""
    if bool(((fit == 0) | (fit == 1)).all()):
        return [IndependentBernoulli(torch.logit((fit.sum(0) + 0.5) / (len(fit) + 1)))]
    spread = fit.std(0)
    if not bool((spread > 1e-6 * (1 + fit.mean(0).abs())).all()):
        return []
    scale = shrink**0.5 if fit.shape[1] > 8 else shrink
    found: list[Any] = [DiagonalGaussian(fit.mean(0), (scale * spread).log())]
    if 1 < fit.shape[1] < len(fit) / 20:
        found.append(MultivariateNormal(fit.mean(0), scale**2 * torch.cov(fit.T), validate_args=False))
    return found


def balance(subject: Any, what: str, p: Distribution, z: Tensor, log_p: Density) -> list[Gap]:
    """Moves that keep p, made once from samples of p, change no mean in expectation.

    A proposal that is as likely as its reverse is taken with probability p(z') / (p(z) + p(z')), which leaves p as it is.
    Real z are moved along random directions, on a sphere in every direction alike; counted ones change two of their places,
    a move that is its own reverse.

    Source: Barker 1965, Monte Carlo calculations of the radial distribution functions for a proton-electron plasma.
    """
    gaps = []
    here = log_p(z)
    flat = z.flatten(1).double()
    centre, spread = flat.mean(0), flat.std(0) + 1e-12
    direction = torch.randn(flat.shape[1], FUNCTIONS, generator=subject.generator(what, "direction"), dtype=torch.float64)
    direction = direction / direction.norm(dim=0)

    def seen(value: Tensor) -> Tensor:
        """(n, 2 FUNCTIONS) bounded means and squares along the directions."""
        along = ((value.flatten(1).double() - centre) / spread) @ direction
        return torch.cat([torch.tanh(along), torch.tanh(along.square() - 1)], 1)

    before = seen(z)
    for name, moved in _proposals(subject, what, p, z, spread):
        try:
            taken = torch.sigmoid(log_p(moved) - here)
        except ValueError:  # outside of a support, of which it will not speak
            continue
        # what is not a number there has no probability either
        gain = torch.where(taken[:, None] > 0, taken[:, None] * (seen(moved) - before), 0.0)
        gaps += [
            Gap.over(f"what {name} make of a mean under {what}, no. {place}", gain[:, place], 1e-4, "")
            for place in range(gain.shape[1])
        ]
    return gaps


def _proposals(subject: Any, what: str, p: Distribution, z: Tensor, spread: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Moves of z (n, *event), each as likely as its reverse."""
    surface = surface_of(p)
    if isinstance(surface, Counted):
        if z.dim() == 3 and z.shape[1] > 1:
            order = torch.arange(z.shape[1])
            first, second = torch.randperm(len(order), generator=subject.generator(what, "swap"))[:2]
            order[first], order[second] = second.clone(), first.clone()
            yield "an exchange of two places", z[:, order]
        return
    if surface is not None and not isinstance(surface, Sphere):
        return
    flat = z.flatten(1).double()
    for size in SIZES:
        noise = torch.randn(flat.shape, generator=subject.generator(what, "move", str(size)), dtype=torch.float64)
        step = size * noise / max(1.0, flat.shape[1] ** 0.5)
        # on a sphere how likely a move is depends on its angle alone
        moved = flat + spread * step if surface is None else surface.project(flat + spread.mean() * step)
        yield f"moves of {size} deviations", moved.reshape(z.shape).to(z.dtype)
