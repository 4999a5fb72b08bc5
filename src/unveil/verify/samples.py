"""Samples of x: independent of how many are asked for at a time, and drawn from p(z) p(x|z)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.models import VAE
from unveil.verify.check import Gap, Law
from unveil.verify.subject import Subject

CALLS, EACH = 48, 8
"""Calls for a few samples, against one call for all of them."""
DIRECTIONS = 4
"""Random directions of x whose means and squares are compared."""


@torch.no_grad()
def samples(subject: Subject) -> list[Gap]:
    """Many calls for a few samples against one call for many, and both against z from the prior, decoded."""
    model, calls = subject.model, CALLS * subject.effort
    n = calls * EACH
    offset = 10_000 * (1 + subject.number) + 1_000 * subject.seed
    gaps: list[Gap] = []
    for mean in (True, False):
        kind = "E[x|z] of samples" if mean else "samples"

        def asked(count: int, seed: int, mean: bool = mean) -> Tensor:
            return model.sample(count, subject.context(count), seed=seed, mean=mean).flatten(1).double()

        few = torch.cat([asked(EACH, offset + call) for call in range(calls)])
        many = asked(n, offset - 1)
        look = _functions(subject, many)
        gaps += _apart(f"{kind}, {EACH} at a time, against {n} at once", look(few), look(many))
        if isinstance(model, VAE):
            gaps += _apart(f"{kind}, against z of the prior, decoded", look(few), look(_decoded(subject, n, mean)))
    return gaps


def _decoded(subject: Subject, n: int, mean: bool) -> Tensor:
    subject.reseed("decoded", int(mean))
    z = subject.prior().sample(torch.Size([n]))
    z = z.reshape(n, *subject.prior().event_shape)
    output = subject.model.decode(z, subject.context(n))
    return (output.mean if mean else output.sample()).flatten(1).double()


def _functions(subject: Subject, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Bounded means and squares along random directions, in units of the spread of `x` (n, E)."""
    middle = x.median(0).values
    direction = torch.randn(x.shape[1], DIRECTIONS, generator=subject.generator("x direction"), dtype=torch.float64)
    scale = ((x - middle) @ direction).abs().median(0).values + 1e-4

    def look(value: Tensor) -> Tensor:
        along = (value - middle) @ direction / scale
        return torch.cat([torch.tanh(along), torch.tanh(along.square() - 1)], 1)

    return look


def _apart(what: str, one: Tensor, other: Tensor) -> list[Gap]:
    gaps = []
    for place, (a, b) in enumerate(zip(one.T, other.T, strict=True)):
        error = float((a.var() / len(a) + b.var() / len(b)).sqrt())
        gaps.append(Gap(f"{what}, no. {place}", float(a.mean() - b.mean()), error, 2e-3, len(a), ""))
    return gaps


LAWS = (
    Law(
        "samples",
        "sample() draws z from p(z), each anew, and x from p(x|z), however many are asked for at a time.",
        samples,
        "Draw every z from the whole prior: a sampler that takes its first components makes the same few x again.",
    ),
)
