"""What a check is, what it finds, and when noise alone could have found it.

A check looks at a model and returns gaps: how far a number is from what it must be, and the standard error of that. A
statistical gap counts as one only where it is found twice, the second time with new noise and four times the draws, so
that the chance of a false alarm is the square of that of one look.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite
from statistics import NormalDist
from typing import Any, Literal

from torch import Tensor

from unveil.errors import UnveilError
from unveil.evaluation.tails import student_quantile

RATE = 5e-4
"""The chance that one look at a healthy model finds a gap in any of a check's numbers, were the values normal that each is
a mean over. Skewed ones need many of them: of centred chi-squares over 2 with one degree of freedom, as log q - log p of a
narrow Gaussian posterior are, 17 means over 512 have 3.4e-3, and over 2,048 1.4e-3; over 64 and 256 it was 7e-2 and 9e-3
(3e5 simulated means)."""
MANY = 200
"""Values from which on the error of their mean is as good as known."""
TINY = 1e-30
"""What is divided by where nothing is allowed."""
REASON = 200
"""Most letters of a foreign error that a reason quotes."""

FACT = "contradictions"
"""The unit of what is so or is not."""
NOTE = "notes"
"""The unit of what could not be looked at, in a sentence."""

Outcome = Literal["passed", "failed", "not applicable"]


class NotApplicable(UnveilError):
    """A check says nothing of this model; the message is the reason."""


@dataclass(frozen=True)
class Gap:
    """How far a number is from what it must be.

    Attributes:
        what: which number, against which.
        value: the difference.
        stderr: its standard error; 0 where it is exact.
        slack: how large a difference may be without being one: rounding, or what is of no consequence.
        n: independent values that the difference is a mean over; 1 where it is exact.
        unit: of value and errors.
        above: whether only a positive difference is one.
    """

    what: str
    value: float
    stderr: float = 0.0
    slack: float = 0.0
    n: int = 1
    unit: str = "nats"
    above: bool = False

    @classmethod
    def over(cls, what: str, values: Tensor, slack: float = 1e-3, unit: str = "nats", above: bool = False) -> Gap:
        """The mean of independent `values` (N,), which must be zero, or with `above` not more."""
        values = values.detach().double()
        error = float(values.std() / len(values) ** 0.5)
        return cls(what, float(values.mean()), error, slack, len(values), unit, above)


def fact(what: str, holds: bool) -> Gap:
    """Something that is so or is not; `what` is a sentence."""
    return Gap(what, 0.0 if holds else 1.0, unit=FACT)


def note(what: str) -> Gap:
    """Something that was not looked at, and why; `what` is a sentence."""
    return Gap(what, 0.0, unit=NOTE)


@dataclass(frozen=True)
class Evidence:
    """A gap, judged.

    Attributes:
        what: which number, against which.
        gap: the difference that was found.
        stderr: its standard error; 0 where it is exact.
        allowed: the largest that passes.
        n: independent values that it is a mean over.
        unit: of all three.
        holds: whether it passes.
    """

    what: str
    gap: float
    stderr: float
    allowed: float
    n: int
    unit: str
    holds: bool

    def __str__(self) -> str:
        if self.unit == NOTE:
            return self.what
        if self.unit == FACT:
            return f"{'it holds' if self.holds else 'it does not hold'} that {self.what}"
        error = f" ± {self.stderr:.2g}" if self.stderr else ""
        return f"{self.what}: off by {self.gap:.3g}{error} {self.unit}, allowed {self.allowed:.2g} (n = {self.n:,})"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: of the check.
        must: what must hold, in a sentence.
        outcome: 'passed', 'failed' or 'not applicable'.
        reason: why it failed or does not apply; empty where it passed.
        evidence: the numbers, the worst of them first.
        remedy: what to change where it failed.
        false_alarm: the chance that it fails on a healthy model, over seeds; 0 where nothing in it is random.
    """

    name: str
    must: str
    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...]
    remedy: str
    false_alarm: float


@dataclass(frozen=True)
class Law:
    """Something that must hold of every model.

    Attributes:
        name: of the check.
        must: what must hold, in a sentence.
        test: the gaps of a subject; it raises `NotApplicable` where it says nothing.
        remedy: what to change where it does not hold.
    """

    name: str
    must: str
    test: Callable[[Any], Sequence[Gap]]
    remedy: str


def judge(gaps: Sequence[Gap]) -> tuple[Evidence, ...]:
    """Each gap against what noise may do, the worst first; the chance of any false alarm in them is `RATE`."""
    noisy = sum(gap.stderr > 0 for gap in gaps)
    found = []
    for gap in gaps:
        allowed = gap.slack + (_limit(noisy, gap.n) * gap.stderr if gap.stderr else 0.0)
        size = gap.value if gap.above else abs(gap.value)
        holds = isfinite(size) and isfinite(allowed) and size <= allowed
        share = size / (allowed + TINY) if isfinite(size) and isfinite(allowed) else inf
        found.append((share, Evidence(gap.what, gap.value, gap.stderr, allowed, gap.n, gap.unit, holds)))
    return tuple(evidence for _, evidence in sorted(found, key=lambda pair: -pair[0]))


@cache
def _limit(gaps: int, n: int) -> float:
    """How many standard errors a mean over n values may be off, where there are so many of them."""
    if n >= MANY:
        return NormalDist().inv_cdf(1 - RATE / (2 * gaps))
    return student_quantile(1 - RATE / gaps, max(n - 1, 1))


def examine(law: Law, subject: Any) -> Check:
    """Hold a subject to a law; `subject.look(number)` gives it afresh, with noise of its own.

    Whatever is raised but `NotApplicable` is a failure, and so is what was found by a first look and by a second one is
    not looked at any more.
    """
    evidence: tuple[Evidence, ...] = ()
    outcome: Outcome = "passed"
    reason = ""
    for number in (0, 1):
        try:
            with subject.look(number) as fresh:
                evidence = judge(law.test(fresh))
        except NotApplicable as error:
            if number:
                break
            return Check(law.name, law.must, "not applicable", _first_line(error), (), law.remedy, 0.0)
        except Exception as error:  # a user's part may raise whatever it likes, and that it does is the finding
            reason = f"it raised {type(error).__name__}: {_first_line(error)}{_raised_in(error)}"
            outcome, evidence = "failed", ()
            continue
        outcome = "passed" if all(one.holds for one in evidence) else "failed"
        reason = "" if outcome == "passed" else str(evidence[0])
        if outcome == "passed":
            break
    chance = RATE**2 if any(one.stderr for one in evidence) else 0.0
    return Check(law.name, law.must, outcome, reason, evidence, law.remedy, chance)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:REASON]


def _raised_in(error: Exception) -> str:
    """The function that raised it."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return f" (in {frames[-1][0].f_code.co_qualname})" if frames else ""


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes:
        model: what the model is made of, by class.
        objective: likewise.
        data: name of the data whose training and validation splits it was looked at with.
        rows: training examples that were drawn from them.
        seed: of everything random.
        checks: one for each law.
        false_alarm: the chance that any of them fails on a healthy model, over seeds: below 1e-4.
    """

    model: str
    objective: str
    data: str
    rows: int
    seed: int
    checks: tuple[Check, ...]
    false_alarm: float

    @property
    def holds(self) -> bool:
        """Whether something passed and nothing failed."""
        return not self.failed and any(check.outcome == "passed" for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def check(self, name: str) -> Check:
        """The check of that name."""
        return next(check for check in self.checks if check.name == name)

    def table(self) -> list[tuple[str, str]]:
        """What the terminal prints: the name of each check, and what came of it."""
        rows = [(check.name, _told(check)) for check in self.checks]
        count = sum(check.outcome == "passed" for check in self.checks)
        rest = sum(check.outcome == "not applicable" for check in self.checks)
        total = f"{count} passed, {len(self.failed)} failed, {rest} not applicable"
        return [*rows, ("all", f"{total}; chance of a false alarm {self.false_alarm:.0e} (seed {self.seed})")]

    def advice(self) -> list[str]:
        """What to change, for each check that failed."""
        return [f"{check.name}: {check.must} Here {check.reason}. {check.remedy}" for check in self.failed]


def _told(check: Check) -> str:
    if check.outcome != "passed":
        return f"{check.outcome}: {check.reason}"
    notes = [one.what for one in check.evidence if one.unit == NOTE]
    noisy = sum(one.stderr > 0 for one in check.evidence)
    exact = len(check.evidence) - noisy - len(notes)
    kinds = [f"{noisy} means within their noise"] * (noisy > 0) + [f"{exact} exact"] * (exact > 0)
    return f"passed ({'; '.join([', '.join(kinds), *notes])})"
