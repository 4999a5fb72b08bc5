"""The report card: how good a model is in nats, and whatever else was asked for, each figure with what it is.

A section is a record of figures that can say what the terminal prints of it and what a reader should do about it. One
that cannot be had of this model, a closed form where there is none say, is left out, and the report says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unveil.data import Dataset
from unveil.errors import UnveilError, option, unknown
from unveil.evaluation.figure import Figure
from unveil.evaluation.likelihood.nats import FEW, Nats, evaluate
from unveil.evaluation.likelihood.quadrature import Quadrature
from unveil.evaluation.sections import SECTIONS, Section, Subject
from unveil.evaluation.telling import told
from unveil.evaluation.watching import Ledger, Watcher
from unveil.models import Model
from unveil.words import counted

BLIND = 0.1
"""Nats by which an estimate may lie above the integral, beyond both errors, before anything is said."""
MISSED = 3.0
"""Nats by which the estimate of an image with many effective draws lies above its integral where a peak was missed."""


@dataclass(frozen=True)
class Report:
    """What is known of a model.

    Attributes:
        nats: -ELBO, distortion, rate and the estimate of -log p(x).
        sections: what was asked for besides, by name.
        refused: why a section that was asked for is missing, by name.
        kept: the file that it was written to; None where it was not.
    """

    nats: Nats
    sections: Mapping[str, Section]
    refused: Mapping[str, str]
    kept: Path | None = None

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
        if not self.nats.values:  # figures that travelled without them
            return []
        above = self.nll.value - exact.nll.value
        if above < BLIND + 4 * ((self.nll.estimator or 0.0) + (exact.nll.estimator or 0.0)):
            return []
        said = f"importance weighting lies {above:,.2f} nats above the integral itself"
        values = self.nats.values
        missed = int(((values["nll"] - exact.values > MISSED) & (values["ess"] >= FEW)).sum())
        if not missed:
            return [
                f"{said}: K = {self.nats.samples:,} draws are too few for this encoder; take the quadrature, "
                f"or more of them by {option('samples')}"
            ]
        return [
            f"{said}: for {missed:,} of {self.nll.n:,} examples the encoder misses where p(z|x) is, by more than "
            f"{MISSED:g} nats that effective draws do not show; take the quadrature, a defensive share of draws "
            f"({option('defensive', 0.5)}), or a larger encoder"
        ]

    @property
    def values(self) -> dict[str, Tensor]:
        """What figures are means of, (N,) each, of the images of the nats: theirs, and 'quadrature' where there is one."""
        exact = self.sections.get("quadrature")
        if not isinstance(exact, Quadrature) or exact.fingerprint != self.nats.fingerprint:
            return self.nats.values
        return {**self.nats.values, "quadrature": exact.values}

    def __str__(self) -> str:
        """What `unveil evaluate` prints."""
        nats = self.nats
        text = [f"{nats.data}, {nats.split} split, {nats.measure} x, seed {nats.seed}, {nats.precision}"]
        text += told("", nats.table(), nats.advice())
        for name, section in self.sections.items():
            text += told(name, section.table(), section.advice())
        text += told("", [], self.advice())
        text += [f"{name}: none, since {why}" for name, why in self.refused.items()]
        reached = "" if nats.matrix_share is None else f", {nats.matrix_share:.0%} of the machine's float32 matrix rate"
        return "\n".join([*text, f"the nats took {nats.seconds:.1f} s on {counted(nats.threads, 'thread')}{reached}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        sections = {name: asdict(section) for name, section in self.sections.items()}
        for section in sections.values():
            section.pop("values", None)
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
    defensive: float = 0.0,
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
        defensive=defensive,
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
        except (MemoryError, RuntimeError) as error:  # of a user's part, or of the device: the nats are not lost with it
            refused[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    return Report(nats, sections, refused)
