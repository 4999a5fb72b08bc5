"""The report card: how good a model is in nats, and whatever else was asked for, each figure with what it is.

A section is a record of figures that can say what the terminal prints of it and what a reader should do about it. One
that cannot be had of this model, a closed form where there is none say, is left out, and the report says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unveil.data import Dataset
from unveil.errors import UnveilError, unknown
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.nats import Nats, evaluate
from unveil.evaluation.likelihood.quadrature import Quadrature
from unveil.evaluation.sections import SECTIONS, Section, Subject
from unveil.evaluation.watching import Ledger, Watcher
from unveil.models import Model

BLIND = 0.1
"""Nats by which an estimate may lie above the integral, beyond both errors, before anything is said."""


@dataclass(frozen=True)
class Report:
    """What is known of a model.

    Attributes:
        nats: -ELBO, distortion, rate and the estimate of -log p(x).
        sections: what was asked for besides, by name.
        refused: why a section that was asked for is missing, by name.
    """

    nats: Nats
    sections: Mapping[str, Section]
    refused: Mapping[str, str]

    @property
    def nll(self) -> Figure | None:
        """The importance-weighted estimate of -log p(x)."""
        return self.nats.nll

    @property
    def neg_elbo(self) -> Figure | None:
        """Distortion + rate."""
        return self.nats.neg_elbo

    @property
    def distortion(self) -> Figure:
        """-log p(x|z) under the posterior."""
        return self.nats.distortion

    @property
    def rate(self) -> Figure | None:
        """KL(q(z|x) || p(z))."""
        return self.nats.rate

    def advice(self) -> list[str]:
        """What the figures say only beside each other."""
        exact = self.sections.get("quadrature")
        if not isinstance(exact, Quadrature) or self.nll is None or exact.fingerprint != self.nats.fingerprint:
            return []
        above = self.nll.value - exact.nll.value
        if above < BLIND + 4 * ((self.nll.estimator or 0.0) + (exact.nll.estimator or 0.0)):
            return []
        return [
            f"importance weighting lies {above:.2f} nats above the integral itself: for some images the encoder misses "
            "where p(z|x) is, which effective draws do not show; take the quadrature, and a larger encoder"
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        sections = {name: asdict(section) for name, section in self.sections.items()}
        return {**self.nats.as_dict(), "sections": sections, "refused": dict(self.refused)}


def require(names: Iterable[str]) -> None:
    """See that there are sections of those names; the error proposes the nearest."""
    for name in names:
        if name not in SECTIONS:
            raise unknown("section of a report", name, SECTIONS)


def report(
    model: Model,
    data: Dataset,
    split: str,
    also: Iterable[str] = (),
    *,
    samples: int = 500,
    images: int | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
    ledger: Ledger | None = None,
    identity: str = "",
) -> Report:
    """Evaluate a model and add the sections named in `also`; the other arguments are those of `evaluate`.

    Raises:
        SettingError: a section that is not known.
    """
    wanted = list(also)
    require(wanted)
    chosen = data.split(split)
    nats = evaluate(
        model,
        chosen,
        data=data.name,
        samples=samples,
        images=images,
        seed=seed,
        watcher=watcher,
        ledger=ledger,
        identity=identity,
    )
    subject = Subject(model, data, chosen, images, seed, watcher)
    sections, refused = {}, {}
    for name in wanted:
        try:
            sections[name] = SECTIONS[name](subject)
        except UnveilError as error:
            refused[name] = str(error)
    return Report(nats, sections, refused)
