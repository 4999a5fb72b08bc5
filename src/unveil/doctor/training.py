"""What can be wrong with how a run was trained: it ended early, too late or too soon, or minimised something else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf, isfinite

from unveil.doctor.case import Case
from unveil.doctor.finding import Finding
from unveil.objectives import Capacity, Distortion, Rate, Scaled, Sum, Term, Warmup
from unveil.words import counted, number

LOOKS = 5
"""Looks at the validation split from which on a course can be told from two points."""
NOTHING = 0.005
"""Nats for each entry of x, or share of the loss: too little to be waited for, or to be sorry for."""
LAST = 0.1
"""The last part of a training, in which its learning rate is small and its loss should have settled."""
PACE = 0.5
"""Of its mean pace: who still falls that fast in the last tenth has not arrived."""
RISEN = 0.05
"""Share of all that was gained; a validation loss that gave back as much is on its way up, and not noise."""
LONG = 0.75
"""Share of the training before which the best weights were found 'long before the end'."""
JUMP = 0.25
"""Share of all that was gained which an epoch may not lose: noise between epochs is a hundredth of that."""


def interrupted(case: Case) -> Iterator[Finding]:
    """Training that somebody stopped."""
    if case.run.manifest.get("status") not in ("interrupted", "training"):
        return
    outcome = case.run.manifest.get("outcome") or {}
    total = case.run.manifest.get("training", {}).get("epochs", 0) * case.epoch
    yield Finding(
        "doubtful",
        "training was interrupted",
        f"{outcome.get('steps', 0):,} of n = {total:,} steps were taken; the weights in use are those of step "
        f"{outcome.get('best_step', 0):,}",
        "go on with --resume",
    )


def _course(case: Case) -> list[tuple[int, float]]:
    """Epoch and loss of each look at the validation split that gave a number; empty where there were too few."""
    looks = [(record["epoch"], record["validation"].get("loss")) for record in case.records if record.get("validation")]
    finite = [(epoch, loss) for epoch, loss in looks if loss is not None and isfinite(loss)]
    return finite if len(finite) >= LOOKS else []


def still_falling(case: Case) -> Iterator[Finding]:
    """A validation loss that was still falling when training ended."""
    course = _course(case)
    if not course:
        return
    (start, first), (end, last) = course[0], course[-1]
    since = max((look for look in course[:-1] if look[0] <= end - max(1.0, LAST * end)), default=course[-2])
    pace, mean = (since[1] - last) / (end - since[0]), (first - last) / (end - start)
    if since[1] - last > case.worth(NOTHING) and mean > 0 and pace > PACE * mean:
        yield Finding(
            "doubtful",
            "the validation loss was still falling when training ended",
            f"from {number(since[1], 4)} to {number(last, 4)} nats over the last {end - since[0]} of n = {end} epochs, "
            f"{pace / mean:.0%} "
            "of its mean pace",
            f"train longer: --epochs {2 * end}",
        )


def rose_again(case: Case) -> Iterator[Finding]:
    """A validation loss that rose long before the end."""
    course = _course(case)
    if not course:
        return
    best, last = min(course, key=lambda look: look[1]), course[-1]
    rise, gained = last[1] - best[1], course[0][1] - best[1]
    if best[0] <= LONG * last[0] and rise > case.worth(NOTHING) and rise > RISEN * gained:
        yield Finding(
            "note",
            "the validation loss rose long before training ended",
            f"it was least after epoch {best[0]} of n = {last[0]}, {number(best[1], 4)} nats, and {number(last[1], 4)} at "
            "the end; the "
            "weights of the former are in use",
            f"train for fewer epochs (--epochs {best[0]}), with a smaller network or learning rate, or on more data",
        )


def jumps(case: Case) -> Iterator[Finding]:
    """An epoch that lost much of what those before it had gained, once no schedule moves the price of the rate any more."""
    given = [(record["epoch"], record.get("neg_elbo", record.get("distortion"))) for record in case.records]
    losses = [(epoch, loss) for epoch, loss in given if loss is not None]
    still = _moving(case)
    steps = [(epoch, before, after) for (start, before), (epoch, after) in pairwise(losses) if start >= still]
    if not steps:
        return
    epoch, before, after = max(steps, key=lambda step: step[2] - step[1])
    gained = losses[0][1] - min(loss for _, loss in losses)
    if after - before > JUMP * gained and after - before > case.worth(4 * NOTHING):
        yield Finding(
            "doubtful",
            "the training loss jumped up",
            f"from {number(before, 4)} to {number(after, 4)} nats in epoch {epoch} of n = {losses[-1][0]}, where all of "
            "the training "
            f"gained {number(gained, 4)}",
            "lower the learning rate, warm it up for longer (--warmup), or clip gradients at a smaller norm (--clip)",
        )


def _moving(case: Case) -> float:
    """For how many epochs schedules of the objective move: -ELBO may then rise while the loss falls."""
    moving = [0.0]
    for part in case.run.objective.modules():
        if isinstance(part, Warmup | Capacity):
            moving.append(inf if isinstance(part, Warmup) and part.cycle else part.epochs)
    return max(moving)


def weight_below_one(case: Case) -> Iterator[Finding]:
    """Schedules of the objective that were not over when the weights in use were trained."""
    outcome = case.run.manifest.get("outcome")
    if not outcome:
        return
    t, steps = outcome["best_step"] / case.epoch, outcome["steps"] / case.epoch
    for part in case.run.objective.modules():
        if isinstance(part, Warmup) and t < part.epochs:
            name = (
                "the KL" if any(isinstance(inner, Rate) for inner in part.modules()) else f"the {type(part.term).__name__}"
            )
            yield Finding(
                "doubtful",
                f"{name} weight never reached one",
                f"the weights in use are of epoch {number(t, 3)} of n = {number(steps, 3)}, where it was "
                f"{t / part.epochs:.2f}; its "
                f"warm-up takes {counted(part.epochs, 'epoch')}",
                "train longer than the warm-up, or shorten it (--model.kl-warmup): until then no bound was minimised, and "
                "samples from the prior suffer",
            )
        if isinstance(part, Capacity) and t < part.epochs:
            yield Finding(
                "doubtful",
                "the capacity never reached its full size",
                f"the weights in use are of epoch {number(t, 3)} of n = {number(steps, 3)}, where it was "
                f"{number(t / part.epochs * part.capacity, 3)} of {number(part.capacity)} nats; its rise takes "
                f"{counted(part.epochs, 'epoch')}",
                "train longer than the capacity rises, or let it rise faster (--model.epochs)",
            )


def other_beta(case: Case) -> Iterator[Finding]:
    """A rate that did not count once: what was minimised was not distortion + rate."""
    priced = list(_priced(case.run.objective))
    rate = sum(weight for term, weight in priced if isinstance(term, Rate))
    distortion = sum(weight for term, weight in priced if isinstance(term, Distortion))
    if rate and distortion and rate != distortion:
        yield Finding(
            "note",
            f"what was minimised is not {case.figure}",
            f"the rate counted {number(rate / distortion)} times as much as the distortion; {case.figure} on training data "
            "is, "
            f"in nats, {case.told('train')}",
            "nothing, if that trade is wanted; for the best nats and the best samples from the prior take beta = 1",
        )


def _priced(term: Term, weight: float = 1.0) -> Iterator[tuple[Term, float]]:
    """The terms of a sum and what each counts, all warm-ups over."""
    if isinstance(term, Sum):
        for part in term.terms:
            assert isinstance(part, Term)
            yield from _priced(part, weight)
    elif isinstance(term, Scaled):
        yield from _priced(term.term, weight * term.weight)
    elif isinstance(term, Warmup):
        yield from _priced(term.term, weight)
    else:
        yield term, weight
