"""How much of the labels can be read off z, by a linear map and by looking at neighbours that were seen in training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.evaluation.figure import Figure, share
from unveil.words import counted

MOST_CLASSES = 1_000
"""A probe has weights for each class; more labels than these are none."""
STEPS = 1_000
"""Most iterations of the linear probe's fit."""


@dataclass(frozen=True)
class Probes:
    """Shares of test examples whose label was told from z, each with its binomial standard error.

    Attributes:
        fitted: examples that the probes learned from.
        classes: labels among them.
        neighbours: k.
        linear: of multinomial logistic regression (L2 with C = 1) on z standardised by the fitted examples.
        nearest: of the vote of the k nearest fitted examples, by distances in z as it is.
        majority: of saying the most frequent label of the fitted examples every time: what z adds nothing to.
        gain: `linear` less `majority`, of the very same examples: the error of a difference that is paired.
        settled: whether the regression converged.
    """

    fitted: int
    classes: int
    neighbours: int
    linear: Figure
    nearest: Figure
    majority: Figure
    gain: Figure
    settled: bool


def probes(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, neighbours: int = 10) -> Probes:
    """Fit on one split and score on another.

    Args:
        train: (M, D) posterior means.
        train_labels: (M,) int64.
        test: (N, D).
        test_labels: (N,) int64; one that is not among the fitted counts as an error.
        neighbours: k, at least 1; all fitted examples where they are fewer.

    Raises:
        SettingError: fewer than two labels, or so many that they are no classes.

    Source: Alain & Bengio 2017, Understanding intermediate layers using linear classifier probes, arXiv:1610.01644.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    if neighbours < 1:
        raise SettingError(f"{neighbours} neighbours have no vote; give at least 1")
    kinds, counts = train_labels.unique(return_counts=True)
    if not 2 <= len(kinds) <= MOST_CLASSES:
        raise SettingError(f"{counted(len(kinds), 'label')} cannot be told apart as classes; give 2 to {MOST_CLASSES:,}")
    x, y, at = train.double().numpy(), train_labels.numpy(), test.double().numpy()
    scaler, probe = StandardScaler().fit(x), LogisticRegression(max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that it has not converged is in the record
        probe.fit(scaler.transform(x), y)
    votes = KNeighborsClassifier(min(neighbours, len(x))).fit(x, y)

    hits = {
        "linear": torch.from_numpy(probe.predict(scaler.transform(at))) == test_labels,
        "nearest": torch.from_numpy(votes.predict(at)) == test_labels,
        "majority": kinds[counts.argmax()] == test_labels,
    }
    return Probes(
        fitted=len(train),
        classes=len(kinds),
        neighbours=min(neighbours, len(x)),
        **{name: share(int(right.sum()), len(right)).scaled(100, "%") for name, right in hits.items()},
        gain=Figure.over(100 * (hits["linear"].double() - hits["majority"].double()), "%"),
        settled=int(probe.n_iter_.max()) < STEPS,
    )
