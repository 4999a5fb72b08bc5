"""How unlike the data an example is: scores, a threshold with a stated false-positive rate, and a p-value for each.

A score is made of what the model says of an example, -log p(x) where it can, by a statistic: a low p(x) alone is no safe
sign of an anomaly, since simple images get likelihoods above those of the data themselves (`statistic`). Whichever is
taken, the threshold comes from held-out data (`conformal`), so that the false-positive rate holds, on average over sets of
held-out data that are exchangeable with the examples, however good the model is and however rough the estimate of log p(x).
What a better model or more draws give is power. Whether scored examples are exchangeable with the held-out ones is told by
what they are and not by the names of their splits (`Overlap`).

Source: Nalisnick et al. 2019, Do Deep Generative Models Know What They Don't Know?, arXiv:1810.09136.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.data import Split
from unveil.errors import DataError, SettingError, unknown
from unveil.evaluation.anomaly.conformal import Calibration, allowed, calibrate, p_values
from unveil.evaluation.anomaly.measured import measure
from unveil.evaluation.anomaly.overlap import Overlap
from unveil.evaluation.anomaly.statistic import STATISTICS
from unveil.evaluation.figure import Figure, share
from unveil.evaluation.likelihood.contender import WEIGHTED
from unveil.models import Model
from unveil.words import counted, number

SURE = 0.01
"""More flags than this chance allows are said to be more than chance."""


@dataclass(frozen=True)
class Scores:
    """What `score` found.

    Attributes:
        row: (N,) int64, each example's row in its source.
        nats: (N,) float64 the quantity itself, such as -log p(x).
        score: (N,) float64, higher is more anomalous.
        p_value: (N,) float64 conformal p-values: small for anomalies, uniform where nothing is wrong.
        flag: (N,) bool, whether the score lies above the threshold, which is whether the p-value is at most `fpr`.
        statistic: name of the score, and `words` what it is.
        quantity: what the nats are.
        centre: nats that are typical, where the score looks at them.
        calibration: the threshold, and how sure it is.
        typical: mean nats of all held-out examples, and `mean` those of the scored ones that are not infinite.
        data: name of the data, `split` which of its splits, and `fingerprint` SHA-256 over its values and labels.
        held_out: name of the split that the threshold comes from, and `held_fingerprint`.
        overlap: which of the scored examples the model was trained on, and which the threshold comes from.
        measure: of the data's space: what the nats are nats of.
        samples: K, draws of z for each example.
        seed: of binarisation, noise, and which held-out examples say what is typical.
        gapped: how many of the scored examples have gaps.
        strange: how many have a class that training never saw, and so no density: their nats are infinite.
        example: what one of those has, in words.
    """

    row: Tensor
    nats: Tensor
    score: Tensor
    p_value: Tensor
    flag: Tensor
    statistic: str
    words: str
    quantity: str
    centre: float | None
    calibration: Calibration
    typical: Figure
    mean: Figure
    data: str
    split: str
    fingerprint: str
    held_out: str
    held_fingerprint: str
    overlap: Overlap
    measure: str
    samples: int
    seed: int
    gapped: int = 0
    strange: int = 0
    example: str = ""

    def columns(self) -> dict[str, np.ndarray]:
        """A row for each example, in their order, as a writer of CSV or Parquet takes it: name to (N,)."""
        chosen = {"row": self.row, "nats": self.nats, "score": self.score, "p_value": self.p_value, "flag": self.flag}
        return {name: column.numpy() for name, column in chosen.items()}

    def as_dict(self) -> dict[str, Any]:
        """Everything but the columns, as plain data."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        nested = {name: asdict(value) for name, value in plain.items() if isinstance(value, (Figure, Calibration, Overlap))}
        return {name: value for name, value in plain.items() if not isinstance(value, Tensor)} | nested

    @property
    def flagged(self) -> int:
        """How many are flagged."""
        return int(self.flag.sum())

    def table(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        one, n = self.calibration, len(self.flag)
        part = share(self.flagged, n).scaled(100, "%")
        low, high = one.interval
        return [
            ("score", f"{self.words}; {self.measure} x, K = {self.samples}, seed {self.seed}"),
            (f"{self.quantity}, {self.held_out}", str(self.typical)),
            (f"{self.quantity}, {self.split}", str(self.mean)),
            (
                "threshold",
                f"{one.threshold:,.2f} nats from {one.n:,} held-out examples: false-positive rate {one.rate:.2%} over such "
                f"sets ({one.fpr:.2%} asked for), this one's between {low:.2%} and {high:.2%} at {one.level:.0%}",
            ),
            (
                "flagged",
                f"{self.flagged:,} of {n:,} ({part.pair()} %); {one.rate * n:,.1f} expected where nothing is "
                f"wrong, so many or more with probability {number(one.chance(self.flagged, n), 2)}",
            ),
        ]

    def advice(self) -> list[str]:
        """What the flags mean, and what to be careful about."""
        said, n, one = [], len(self.flag), self.calibration
        if self.strange:
            rows = "row has a class" if self.strange == 1 else "rows have classes"
            said.append(
                f"{self.strange:,} {rows} that training never saw ({self.example}): probability 0 under the model, score "
                "inf, flagged whatever the threshold"
            )
        if one.chance(self.flagged, n) < SURE:
            said.append(
                f"{self.flagged:,} flags are more than the {one.rate * n:,.1f} that chance gives: the {self.split} split "
                "holds anomalies, or is on the whole unlike the held-out data"
            )
        elif self.flagged > self.strange:
            said.append(f"as many flags as these come by chance alone; look at the smallest of the {n:,} p-values first")
        if self.centre is not None and (probable := int((self.flag & (self.nats < self.centre)).sum())):
            said.append(f"{probable:,} of the flagged are more probable than the data are: simpler, not stranger")
        if self.statistic == "likelihood":
            said.append(
                "-log p(x) alone misses what the model finds more probable than the data, as simple images often are; "
                "'typicality' flags those too"
            )
        if self.quantity != WEIGHTED:
            said.append(f"this model has no estimate of log p(x) here; the score is made of {self.quantity}")
        if self.gapped:
            said.append(
                f"{self.gapped:,} of the {n:,} rows have gaps: their nats are of fewer entries, and compare with those of "
                "rows in which as much is known"
            )
        return [*said, *self.overlap.advice(n), *self._on_the_choice()]

    def _on_the_choice(self) -> list[str]:
        """What the held-out examples have been looked at for."""
        if self.held_out != "validation":
            return []
        return [
            "the best weights were chosen on the validation split, which makes its nats a little better than those of new "
            "examples, and the true false-positive rate a little higher"
        ]


def score(
    model: Model,
    split: Split,
    held_out: Split,
    *,
    trained: Split | None = None,
    statistic: str = "typicality",
    fpr: float = 0.01,
    samples: int = 100,
    seed: int = 0,
    data: str = "",
    strange: Mapping[int, str] | None = None,
) -> Scores:
    """Score every example of a split against held-out data, and flag those above a calibrated threshold.

    Both splits are measured alike, by K draws for each example; the two share no noise, so that examples of either are
    exchangeable where their data are.

    Args:
        model: what makes draws.
        split: the examples to judge.
        held_out: examples of the data that trained nothing: `unveil score` takes the validation split.
        trained: what the model was trained on, which tells whether scored or held-out examples are among it; None where
            that is not known, and is not said then.
        statistic: 'typicality', which is two-sided; 'likelihood', the nats themselves; or 'complexity', for binary images.
        fpr: the share of normal examples that may be flagged, between 1 / (n + 1) and 1 for a threshold from n held-out
            ones: all, of which 'typicality' takes a quarter for its mean.
        samples: K, draws of z for each example.
        seed: of everything random.
        data: the data's name, for the record.
        strange: rows of the source that have a class which training never saw, each in words (`Dataset.strange`): their
            nats are infinite.

    Raises:
        SettingError: no such statistic, a rate that the held-out data are too few for, or x that the statistic is not for.
        DataError: the two splits hold x of different kinds.
    """
    if statistic not in STATISTICS:
        raise unknown("anomaly score", statistic, STATISTICS)
    chosen = STATISTICS[statistic]
    left = chosen.left(len(held_out))
    rows, typical = counted(len(held_out), "row"), len(held_out) - left
    used = f" ({rows} of the {held_out.name} split, of which {typical:,} say what is typical)"
    allowed(left, fpr, used if left < len(held_out) else "")  # before the work
    shapes = [tuple(part.values.shape[1:]) for part in (split, held_out)]
    if split.reading != held_out.reading or shapes[0] != shapes[1]:
        raise DataError(
            f"x of shape {shapes[0]} read by {split.reading} cannot be scored against {shapes[1]} read by "
            f"{held_out.reading}; give data in the space of the held-out ones"
        )
    held = measure(model, held_out, samples=samples, seed=seed, purpose="held out")
    if bad := int((~held.nats.isfinite()).sum()):
        raise SettingError(
            f"{bad} of {len(held_out):,} held-out examples have nats that are not finite; nothing is typical then"
        )
    fitted = chosen.fit(held)
    calibration = calibrate(fitted.held, fpr)
    new = measure(model, split, samples=samples, seed=seed, purpose="scored")
    if bad := int(new.nats.isnan().sum()):
        raise SettingError(f"{bad} of {len(split):,} examples have nats that are no numbers; the model is broken for them")
    known = torch.tensor([row not in (strange or {}) for row in split.rows.tolist()])
    new = replace(new, nats=new.nats.masked_fill(~known, inf))
    scores, rest = fitted.of(new), split if bool(known.all()) else split.subset(known.nonzero().flatten())
    return Scores(
        row=split.rows,
        nats=new.nats,
        score=scores,
        p_value=p_values(fitted.held, scores),
        flag=scores > calibration.threshold,
        statistic=statistic,
        words=fitted.words,
        quantity=new.quantity,
        centre=fitted.centre,
        calibration=calibration,
        typical=Figure.over(held.nats),
        mean=Figure.over(new.nats[known]),
        data=data,
        split=split.name,
        fingerprint=split.digest().hex(),
        held_out=held_out.name,
        held_fingerprint=held_out.digest().hex(),
        overlap=Overlap.of(rest, held_out, trained),
        measure=split.reading.measure,
        samples=samples,
        seed=seed,
        gapped=int(rest.values[:].flatten(1).isnan().any(1).sum()) if rest.gaps else 0,
        strange=len(split) - len(rest),
        example=next((words for row in split.rows.tolist() if (words := (strange or {}).get(row))), ""),
    )
