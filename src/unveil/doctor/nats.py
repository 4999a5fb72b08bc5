"""What the nats of each example say: whether training examples were learned by heart, which are unlike all others."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import torch
from torch import Tensor

from unveil.doctor.case import Case
from unveil.doctor.finding import Finding, rows_of
from unveil.doctor.nonfinite import NonFinite, culprit
from unveil.words import number

CERTAIN = 4.0
"""Standard errors of a difference of two splits before it is believed: by chance once in 16,000."""
WORSE, MUCH = 0.1, 0.3
"""Shares of the nats, or nats for each entry: so much worse on held-out examples is doubtful, and so much is wrong. What a
recipe leaves between train and test after a minute of MNIST is at most a hundredth."""
FAR = 10.0
"""Tail scales beyond the largest of n that is to be expected: by chance once in 20,000 splits. What counts is how fast the
upper quarter thins out, since -log p of x drawn from p itself has a tail that falls exponentially or faster."""
UPPER, HIGH = 0.75, 0.95
"""The quantiles between which that is measured; up to a twentieth of the examples may be outliers without harm."""
ENOUGH = 20
"""Examples without which there is no such quantile."""


def examples_not_finite(case: Case) -> Iterator[Finding]:
    """Examples of which the model says no number, but for training rows that a lost step was found to come to grief on."""
    bad = {name: ~torch.isfinite(nats) for name, nats in case.nats.items()}
    named = culprit(case)
    if isinstance(named, NonFinite):
        bad["train"] &= ~torch.isin(case.sample("train").rows, torch.tensor(named.rows, dtype=torch.int64))
    if not any(map(torch.any, bad.values())):
        return
    yield Finding(
        "wrong",
        f"{case.figure} of some examples is not finite",
        "; ".join(
            f"{int(one.sum()):,} of n = {len(one):,} in {name} ({rows_of(case.sample(name), one)} of the source)"
            for name, one in bad.items()
            if one.any()
        ),
        "look at these rows: they may be values that the likelihood does not admit, or far from all that was trained on",
    )


def overfitted(case: Case) -> Iterator[Finding]:
    """Training examples that are much better explained than others, in both held-out splits."""
    gaps = {name: _gap(case.finite["train"], nats) for name, nats in case.finite.items() if name != "train"}
    if not gaps or not all(gap > case.worth(WORSE) and gap > CERTAIN * error for gap, error in gaps.values()):
        return
    largest = max(gap for gap, _ in gaps.values())
    yield Finding(
        "wrong" if largest > case.worth(MUCH) else "doubtful",
        "the model is over-fitted: it explains training examples much better than others",
        f"{case.figure} is {case.told('train')} nats on train, and "
        + ", ".join(f"{case.told(name)} on {name} ({gap / error:.0f} σ apart)" for name, (gap, error) in gaps.items()),
        "gather more data, take a smaller network, train for fewer epochs, and let validation choose the weights",
    )


def unlike_splits(case: Case) -> Iterator[Finding]:
    """A test split that is harder or easier than the validation split: one of them is not like the data."""
    if "test" not in case.nats or "validation" not in case.nats:
        return
    gap, error = _gap(case.finite["validation"], case.finite["test"])
    if abs(gap) > case.worth(WORSE) and abs(gap) > CERTAIN * error:
        yield Finding(
            "doubtful",
            f"the test split is {'harder' if gap > 0 else 'easier'} than the validation split",
            f"{case.figure} is {case.told('test')} nats on test, and {case.told('validation')} on validation "
            f"({abs(gap) / error:.0f} σ apart)",
            "look at where the two come from: they should be drawn alike, or the difference be what is studied",
        )


def _gap(first: Tensor, second: Tensor) -> tuple[float, float]:
    """By how much the mean of the second is larger, and the standard error of that."""
    errors = sum(float(part.var() / len(part)) if len(part) > 1 else float("inf") for part in (first, second))
    return float(second.mean() - first.mean()), errors**0.5


def outliers(case: Case) -> Iterator[Finding]:
    """Examples that the model cannot explain, far beyond all others."""
    found = []
    for name, nats in case.finite.items():
        if len(nats) < ENOUGH:
            continue
        upper, high = (float(nats.quantile(level)) for level in (UPPER, HIGH))
        scale = (high - upper) / log((1 - UPPER) / (1 - HIGH))
        expected = high + scale * log((1 - HIGH) * len(nats))
        order = nats.argsort(descending=True)
        far = order[nats[order] > expected + FAR * scale] if scale > 0 else order[:0]
        if len(far):
            rows = rows_of(case.sample(name), case.nats[name].isfinite().nonzero().flatten()[far])
            found.append(
                f"{len(far)} of n = {len(nats):,} in {name} ({rows} of the source): up to {number(float(nats[far[0]]), 4)} "
                f"nats where the median is {number(float(nats.median()), 4)} and no more than {number(expected, 4)} is to "
                "be expected"
            )
    if found:
        yield Finding(
            "note",
            "some examples are unlike all others",
            f"{case.figure} of " + "; ".join(found),
            "look at these rows: they may be broken, of another kind, or rightly rare",
        )
