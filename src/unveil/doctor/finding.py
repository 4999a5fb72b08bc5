"""A finding: what is wrong, on which evidence, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unveil.data import Split

Severity = Literal["wrong", "doubtful", "note"]
"""'wrong': what is made from it cannot be trusted. 'doubtful': look at it. 'note': nothing to mend, good to know."""

ORDER: tuple[Severity, ...] = ("wrong", "doubtful", "note")
SHOWN = 5
"""Rows or entries that a finding names."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        severity: how bad it is.
        what: one plain sentence.
        evidence: the numbers that it rests on, each with its n.
        change: what to do.
    """

    severity: Severity
    what: str
    evidence: str
    change: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}\n  evidence: {self.evidence}\n  change: {self.change}"


def arranged(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, otherwise in their order."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def rows_of(split: Split, which: Tensor) -> str:
    """The first few rows of a split at positions `which`, or where that is true: by their files if they have some."""
    part = split.subset(which.nonzero().flatten() if which.dtype == torch.bool else which)
    return f"rows {some(part.rows)}" if part.files is None else f"files {some(part.files)}"


def some(several: Tensor | Iterable[int] | Iterable[str]) -> str:
    """The first few of many numbers or names, in words."""
    whole = several.tolist() if isinstance(several, Tensor) else list(several)
    return ", ".join(map(str, whole[:SHOWN])) + (f" and {len(whole) - SHOWN:,} more" if len(whole) > SHOWN else "")
