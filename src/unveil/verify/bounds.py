"""The order of the bounds: -loss <= E log of the K-sample estimate <= log p(x), and what `evaluate` makes of it."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import torch
from torch import Tensor

from unveil import evaluation
from unveil.data import Plain, Split
from unveil.models import VAE
from unveil.verify.check import Gap, Law, NotApplicable
from unveil.verify.subject import Subject, told
from unveil.verify.toy import ask, drawn, latent_of, toy

MANY = 8
"""K of the tighter bound."""
REPEATS = 48
"""Independent calls that a mean is taken over."""
PILOT = 64
"""Draws by which it is judged whether weights may be averaged."""
EVEN = 0.5
"""Share of effective draws that this takes: below it a mean of weights has no error that could be told."""
WIDTH = 1.5
"""How many times as wide as exact the posterior is that `evaluate` is tried on."""
WIDE = 1.2
"""How many times as wide as exact it is that objectives are tried on."""
BLOCK, BLOCKS = 250, 8
"""Examples that they are asked about at a time, and how often."""
IMAGES = 200
"""Examples that it is tried on."""
TRIED = (1, 30)
"""K that it is tried with."""
ROUND = 2e-3


@torch.no_grad()
def order(subject: Subject) -> list[Gap]:
    """The K-sample estimate rises with K, and its exponential is the same in the mean."""
    pilot = subject.weights("pilot", 0, PILOT)
    repeats = REPEATS * subject.effort
    few, many = (
        torch.stack([subject.weights(f"order {k}", place, k).logsumexp(0) for place in range(repeats)]) for k in (1, MANY)
    )
    rise = few.mean(1) - many.mean(1)  # of independent calls
    gaps = [Gap.over(f"E of the estimate at K = 1, above that at K = {MANY}", rise, ROUND, above=True)]
    whole = pilot.logsumexp(0)
    effective = (2 * whole - (2 * pilot).logsumexp(0)).exp() / len(pilot)
    even = effective > EVEN
    if even.any():
        one, other = ((part - whole)[:, even].exp().mean(1) for part in (few, many))
        gaps.append(Gap.over(f"E of exp(estimate) at K = 1, against K = {MANY}", one - other, 1e-3, "p(x)"))
    return gaps


def estimate(subject: Subject) -> list[Gap]:
    """What `evaluate` says of a model whose truth is known, and of the subject itself."""
    return _of_truth(subject) + _of_subject(subject)


def _of_truth(subject: Subject) -> list[Gap]:
    """With too wide a posterior, one draw falls short by the divergence of the two, and many draws by far less."""
    known = toy(4, subject.seed, WIDTH)
    batch = known.batch(IMAGES, subject.seed + subject.number)
    split = Split("validation", batch.x, None, batch.index, Plain())
    exact = -float(known.truth.log_likelihood(batch.x).mean())
    few, many = (_nll(known.model, split, k, subject.seed + subject.number) for k in TRIED)
    square = WIDTH**2 - 1
    short = known.latent * (0.5 * square - log(WIDTH))
    noise = (known.latent * 0.5 * square**2 / IMAGES) ** 0.5  # of log w, whose variance is known as well
    what = f"nll by evaluate() of a linear-Gaussian model, K = {TRIED[0]}"
    tail = f"nll by evaluate() of the same, K = {TRIED[1]}"
    return [
        Gap(f"{what}, against -log p(x) + KL(q || p(z|x))", few - exact - short, noise, ROUND, IMAGES),
        Gap(f"-log p(x), above {tail}", exact - many, noise / TRIED[1] ** 0.5, ROUND, IMAGES, above=True),
        Gap(f"{tail}, above -log p(x) + KL / 2", many - exact - short / 2, noise, 0.0, IMAGES, above=True),
    ]


def _nll(model: VAE, split: Split, samples: int, seed: int) -> float:
    found = evaluation.evaluate(model, split, samples=samples, seed=seed)
    return float("nan") if found.nll is None else found.nll.value


@torch.no_grad()
def _of_subject(subject: Subject) -> list[Gap]:
    """The same images, weighed here."""
    # evaluation never looks at the labels that a model can do without
    subject = replace(subject, data=replace(subject.data, train=subject.data.train.untold()), memo={})
    rows, k = subject.data.train.subset(torch.arange(len(subject.batch.x))), 4
    # in the reading that they have here, so that a seed of its own gives each look other draws of the same images
    split = replace(rows, values=subject.batch.x, reading=Plain(rows.reading.measure))
    found = evaluation.evaluate(subject.model, split, samples=k, seed=subject.seed + subject.number)
    if found.nll is None:
        return []
    own = torch.stack(
        [-subject.weights("estimate", place, k).logsumexp(0).mean() for place in range(REPEATS * subject.effort)]
    )
    error = float(own.std() * (1 + 1 / len(own)) ** 0.5)
    what = f"nll by evaluate() of this model, K = {k}, against the mean of its own draws"
    return [Gap(what, found.nll.value - float(own.mean()), error, ROUND + 2e-5 * abs(found.nll.value), len(own))]


@torch.no_grad()
def told_of(subject: Subject, width: float, blocks: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) the objective's loss, -log p(x), and minus the estimate of the same draws, of a linear-Gaussian model."""
    known = toy(latent_of(subject), subject.seed, width)
    rows = []
    for block in range(blocks):  # of a size that terms which read across the batch can hold
        batch = known.batch(BLOCK, subject.seed + 100 * subject.number + block)
        subject.reseed("known", str(width), block)
        draw = drawn(subject.objective, known.model, batch)
        tight = (draw.log_w + draw.log_mass).double().logsumexp(0)
        loss = ask(subject.objective, known.model, draw, inf).double()
        rows.append((loss, -known.truth.log_likelihood(batch.x), -tight))
    loss, exact, tight = (torch.cat(part) for part in zip(*rows, strict=True))
    return loss, exact, tight


def claimed(subject: Subject) -> Gap:
    """The loss at the exact posterior against -log p(x): an objective for which that is nothing claims to be a bound.

    Raises:
        NotApplicable: it is not, or the objective is for other data.
    """
    loss, exact, _ = told_of(subject, 1.0, BLOCKS * subject.effort)
    gap = Gap.over("loss at the exact posterior, against -log p(x)", loss - exact, ROUND + 1e-4 * latent_of(subject))
    if not abs(gap.value) <= gap.slack + 4 * gap.stderr:
        raise NotApplicable(f"the objective is no bound: at the exact posterior it is {gap.value:+.3g} nats off -log p(x)")
    return gap


def bound(subject: Subject) -> list[Gap]:
    """An objective that is -log p(x) at the exact posterior, hence claims to be a bound, is one."""
    gap = claimed(subject)
    loss, exact, tight = told_of(subject, WIDE, BLOCKS * subject.effort)
    wider = f"where the posterior is {WIDE} times too wide"
    gaps = [
        gap,
        Gap.over(f"-log p(x), above the loss {wider}", exact - loss, gap.slack, above=True),
        Gap.over(f"minus the estimate of the same draws, above the loss {wider}", tight - loss, gap.slack, above=True),
    ]
    return gaps + _below(subject)


def _below(subject: Subject) -> list[Gap]:
    """The subject's own loss against the estimate that the same draws give."""
    over, repeats = [], REPEATS * subject.effort
    for place in range(repeats):
        draw = subject.objective_s("below", place)
        if not draw.rated:
            return []
        with torch.enable_grad():
            loss: Tensor = told(subject.objective(draw, subject.model, torch.tensor(inf))).detach()
        over.append((-(draw.log_w + draw.log_mass).logsumexp(0) - loss).double().mean())
    values = torch.stack(over)
    slack = ROUND + 2e-5 * float(draw.log_px.detach().abs().max())
    return [Gap.over("minus the estimate of this model's draws, above its loss on them", values, slack, above=True)]


LAWS = (
    Law(
        "order of the bounds",
        "The expected K-sample estimate of log p(x) rises with K, and its exponential has the same mean for every K.",
        order,
        "Let log_mass be -log K for K draws, and each draw independent of the others.",
    ),
    Law(
        "estimate",
        "evaluate() gives a cost, which depends on the number of draws as the importance-weighted bound does.",
        estimate,
        "Return minus the logarithm of the mean of exactly K weights, for each image.",
    ),
    Law(
        "bound",
        "An objective that is -log p(x) at the exact posterior is nowhere below it in expectation, nor below minus the "
        "K-sample estimate of its own draws.",
        bound,
        "Return the bound itself; what only has its gradient, such as sum(w log w), is no value to report or to choose by.",
    ),
)
