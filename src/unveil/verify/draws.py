"""What a draw must be: of the stated shapes, finite, as many as asked for, and made of the model's own densities."""

from __future__ import annotations

import torch
from torch import Tensor

from unveil.distributions import surface_of
from unveil.models import Draw
from unveil.verify.check import Gap, Law, NotApplicable, fact
from unveil.verify.subject import Subject, told

COUNTS = (2, 5)
"""Numbers of draws that are asked for."""
CHUNK, CHUNKS = 64, 8
"""Draws of each example that are made at a time, and how often: as log q - log p is skewed, many."""
ROUND = 1e-3
"""Nats that float32 may round off, beside a share of `DIGITS` of what is summed."""
DIGITS = 2e-5


@torch.no_grad()
def draws(subject: Subject) -> list[Gap]:
    """Shapes, numbers and the identity of the importance weight."""
    size, gaps = len(subject.batch.x), []
    first, second = (subject.draw("draws", place, count) for place, count in enumerate(COUNTS))
    counts = [len(draw.log_px) for draw in (first, second)]
    gaps.append(
        fact("there are as many draws of an example as were asked for", counts[0] * COUNTS[1] == counts[1] * COUNTS[0])
    )
    k = counts[1]
    numbers = {"log_px": second.log_px, "log_mass": second.log_mass}
    if second.rated:
        for name in ("log_q", "log_p", "kl"):
            numbers |= {f"{name} of layer {layer}": part for layer, part in enumerate(getattr(second, name))}
    for name, values in numbers.items():
        gaps.append(fact(f"{name} has shape (K, B)", values.shape == (k, size)))
        gaps.append(fact(f"{name} is finite", bool(values.isfinite().all())))
    for layer, z in enumerate(second.z):
        gaps.append(fact(f"z of layer {layer} has shape (K, B, ...)", z.shape[:2] == (k, size)))
        gaps.append(fact(f"z of layer {layer} is finite", bool(z.isfinite().all())))
    total = float((second.log_mass.double().exp().sum(0) - 1).abs().max())
    gaps.append(Gap("sum of the masses of an example's draws, against 1", total, slack=1e-5, unit=""))
    if second.rated:
        gaps += _weights(subject, second)
    if _random(second):
        gaps.append(fact("draws of an example differ", not torch.equal(second.z[0][0], second.z[0][k // 2])))
    return gaps + _samples(subject) + _losses(subject)


def _random(draw: Draw) -> bool:
    posterior = draw.posterior
    return draw.rated and draw.covers and (posterior is None or surface_of(posterior) is None)


def _weights(subject: Subject, draw: Draw) -> list[Gap]:
    by_parts = draw.log_px + sum(p - q for p, q in zip(draw.log_p, draw.log_q, strict=True))
    gaps = [_close("log_w, against log_px + sum(log_p - log_q)", draw.log_w, by_parts)]
    # a model with several layers takes all of z; one that knows its density by a bound alone says something else each time
    z = draw.z[0] if len(draw.z) == 1 else draw.z
    said = []
    for place in (0, 1):
        subject.reseed("joint", place)
        said.append(subject.model.log_joint(subject.batch, z))  # type: ignore[arg-type]
    if torch.equal(*said):
        joint = draw.log_px + sum(draw.log_p, start=torch.zeros(()))
        gaps.append(_close("log_joint of the draws, against log_px + sum(log_p)", said[0], joint))
    return gaps


def _close(what: str, one: Tensor, other: Tensor) -> Gap:
    """The largest difference between two tensors of nats."""
    return Gap(what, float((one - other).abs().max()), slack=ROUND + DIGITS * float(other.abs().max()))


def _samples(subject: Subject) -> list[Gap]:
    shape, gaps = subject.data.space.shape, []
    for count in (1, 7):
        x = subject.model.sample(count, subject.context(count), seed=3)
        gaps.append(fact(f"{count} samples have shape (n, *event)", x.shape == (count, *shape)))
        gaps.append(fact("samples are finite", bool(x.isfinite().all())))
    torch.manual_seed(1)  # a seed tells the samples, whatever was drawn before
    again = subject.model.sample(7, subject.context(7), seed=3)
    return [*gaps, fact("samples of the same seed are the same", torch.equal(x, again))]


def _losses(subject: Subject) -> list[Gap]:
    # some terms take a gradient within
    with torch.enable_grad():
        loss = told(subject.objective(subject.objective_s("loss", 0), subject.model, torch.tensor(0.0)))
    return [
        fact("the loss has shape (B,)", loss.shape == (len(subject.batch.x),)),
        fact("the loss is finite", bool(loss.isfinite().all())),
    ]


@torch.no_grad()
def kl(subject: Subject) -> list[Gap]:
    """kl of each layer against log_q - log_p of the same draws, in the mean."""
    found, size = [], 0.0
    for place in range(CHUNKS * subject.effort):
        draw = subject.draw("kl", place, CHUNK)
        if not draw.rated:
            raise NotApplicable("the posterior has no density, so that its rate is infinite")
        triples = list(zip(draw.kl, draw.log_q, draw.log_p, strict=True))
        found.append([(divergence - (log_q - log_p)).double() for divergence, log_q, log_p in triples])
        size = max(size, *(float(log_q.abs().max() + log_p.abs().max()) for _, log_q, log_p in triples))
    gaps = []
    for layer, rows in enumerate(zip(*found, strict=True)):
        apart = torch.cat(rows)
        what = f"kl of layer {layer}, against log_q - log_p of the draws"
        slack = ROUND + DIGITS * size
        gaps.append(Gap.over(f"{what}, over all examples", apart.mean(1), slack))
        gaps += [Gap.over(f"{what}, example {row}", apart[:, row], slack) for row in range(apart.shape[1])]
    return gaps


LAWS = (
    Law(
        "draws",
        "A draw has the stated shapes and finite numbers, as many as asked for, whose masses sum to 1 and whose weight is "
        "log p(x, z) - log q(z|x).",
        draws,
        "Let draw() return (K, B) nats for each layer, and log_joint() the same densities.",
    ),
    Law(
        "kl",
        "The mean of kl is the mean of log q - log p over draws of q.",
        kl,
        "Correct the closed form that was registered for KL(q || p), or the density of q or p; without one, leave it out.",
    ),
)
