"""`verify`: any model, a user's own included, against what must hold of every one.

Each law is a small function that looks at a model and returns gaps between numbers and what they must be. What is a mean
over draws has a z-score, and over seeds the chance that a healthy model fails any of them is below 1e-4, where these means
are near enough to normal (`RATE` says how near the most skewed ones are).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import nn

from unveil import preflight
from unveil.data import Dataset
from unveil.errors import SettingError
from unveil.models import Model
from unveil.objectives import Term
from unveil.opening import KNOWN
from unveil.verify import (
    across,
    bounds,
    densities,
    draws,
    gradients,
    invariance,
    reading,
    samples,
    saving,
    training,
)
from unveil.verify.check import Check, Evidence, Law, Verdict, examine
from unveil.verify.subject import Subject, subject_of

log = logging.getLogger(__name__)

LAWS: tuple[Law, ...] = tuple(
    law
    for module in (draws, bounds, invariance, densities, samples, gradients, across, saving, reading, training)
    for law in module.LAWS
)
"""All that must hold, in the order in which it is looked at."""

__all__ = ["LAWS", "Check", "Evidence", "Law", "Verdict", "prepared", "verify"]


def verify(
    model: Model,
    objective: Term,
    data: Dataset | None = None,
    *,
    seed: int = 0,
    parts: Iterable[type[nn.Module]] = (),
    laws: Iterable[Law] = LAWS,
) -> Verdict:
    """Check a model and its objective against what must hold of every model.

    Both are copied and stay as they are, as does the caller's random state. Of `data` a few hundred rows of the training
    and validation splits are drawn; the test split is never read.

    Args:
        model: any model over the seam of draws.
        objective: what it is trained on.
        data: what it is for, as the model is to see them (with their labels where it is conditioned); None for examples
            that are made to fit it.
        seed: of everything random.
        parts: classes of your own that a saved form may name, beside those that the model is made of.
        laws: what to look at, all for the default.

    Raises:
        SettingError: model, objective and data do not fit together, or the model needs data to be looked at.
    """
    looked = prepared(model, objective, data, seed=seed, parts=parts)
    checks = tuple(examine(law, looked) for law in laws)
    return Verdict(
        model=type(model).__name__,
        objective=type(objective).__name__,
        data=looked.data.name,
        rows=len(looked.data.train),
        seed=seed,
        checks=checks,
        false_alarm=sum(one.false_alarm for one in checks),
    )


def prepared(
    model: Model,
    objective: Term,
    data: Dataset | None = None,
    *,
    seed: int = 0,
    parts: Iterable[type[nn.Module]] = (),
) -> Subject:
    """What the laws look at: copies of model and objective, and a few rows that fit them. Arguments as for `verify`."""
    known: dict[str, type[nn.Module]] = dict(KNOWN)
    own = [type(part) for whole in (model, objective) for part in whole.modules()]
    for kind in [*own, *parts]:
        if not kind.__module__.startswith("torch.") and known.setdefault(kind.__name__, kind) is not kind:
            raise SettingError(f"there is another part named {kind.__name__}; give your class another name")
    looked = subject_of(model, objective, data, seed, known)
    preflight.check(looked.model, looked.data)
    try:
        with looked.look(0) as fresh:
            fresh.objective(fresh.objective_s("first", 0), fresh.model, torch.tensor(0.0))
    except SettingError:
        raise
    except Exception:
        log.debug("the objective cannot be asked; the checks tell more", exc_info=True)
    return looked
