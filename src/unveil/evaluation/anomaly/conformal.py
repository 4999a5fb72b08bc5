"""A threshold with a stated false-positive rate, and p-values, from scores of held-out data.

Let s_1 .. s_n be the scores of held-out examples, and s that of a new one. If all n + 1 are exchangeable, as independent
draws from one distribution are, the rank of s among them is uniform, whatever the scores are made of: a poor model costs
power, and never the rate. Higher scores are more anomalous.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log, log10

import torch
from torch import Tensor

from unveil.errors import SettingError
from unveil.evaluation.tails import beta_quantile


@dataclass(frozen=True)
class Calibration:
    r"""A threshold on scores, and how sure it is.

    The threshold is the k-th smallest of n held-out scores, k = ceil((n + 1)(1 - fpr)). A new example that is exchangeable
    with the held-out ones lies above it with probability (n + 1 - k) / (n + 1), at most `fpr`; ties only lower it. That is
    a mean over held-out sets. Of this one, the rate among all further examples is a draw from Beta(n + 1 - k, k).

    Attributes:
        n: held-out scores.
        fpr: the false-positive rate asked for.
        threshold: scores above it are flagged.
        allowed: n + 1 - k, how many of n + 1 examples may be flagged.
        rate: (n + 1 - k) / (n + 1), the rate that the threshold gives.
        interval: between what this threshold's own rate lies with probability `level`, for scores without ties.
        level: of the interval.

    Source: Vovk et al. 2005, Algorithmic Learning in a Random World; Bates et al. 2023, Testing for Outliers with
    Conformal p-values, arXiv:2104.08279.
    """

    n: int
    fpr: float
    threshold: float
    allowed: int
    rate: float
    interval: tuple[float, float]
    level: float = 0.95

    def chance(self, flagged: int, of: int) -> float:
        """P(at least `flagged` of `of` new examples are flagged) where nothing is wrong with any: a beta-binomial tail."""
        hits = torch.arange(flagged, of + 1, dtype=torch.float64)
        a, b = torch.tensor([self.allowed, self.n + 1 - self.allowed], dtype=torch.float64)
        log_ways = -_log_beta(hits + 1, of - hits + 1) - log(of + 1)
        terms = log_ways + _log_beta(hits + a, of - hits + b) - _log_beta(a, b)
        return min(1.0, float(terms.logsumexp(0).exp())) if flagged else 1.0


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def allowed(n: int, fpr: float, told: str = "") -> int:
    """How many of n + 1 exchangeable examples may be flagged at a rate of at most `fpr`: floor(fpr (n + 1)).

    Args:
        n: held-out scores.
        fpr: the rate.
        told: where they come from, for the message.

    Raises:
        SettingError: none, so that no threshold from n scores can promise this rate.
    """
    if not 0 < fpr < 1:
        raise SettingError(f"a false-positive rate cannot be {fpr}; give one between 0 and 1, such as 0.01")
    count = floor(fpr * (n + 1) + 1e-9)  # 0.29 * 100 is below 29 in floating point
    if count < 1:
        raise SettingError(
            f"a false-positive rate of {fpr:g} cannot be promised from {n:,} held-out scores{told}; "
            f"give --fpr {_above(1 / (n + 1))} or more, or {ceil(1 / fpr - 1e-9) - 1:,} scores or more"
        )
    return count


def _above(rate: float) -> str:
    """The next decimal number with two digits, none of which is below `rate`."""
    places = 1 - floor(log10(rate))
    return f"{ceil(rate * 10**places - 1e-9) / 10**places:.{places}f}".rstrip("0").rstrip(".")


def calibrate(held: Tensor, fpr: float, level: float = 0.95) -> Calibration:
    """The threshold that flags at most a share `fpr` of what is exchangeable with the held-out examples.

    Args:
        held: (n,) scores of held-out examples, which neither trained the model nor shaped the score.
        fpr: the false-positive rate, between 1 / (n + 1) and 1.
        level: of the interval for the rate that this threshold has.

    Raises:
        SettingError: a rate that no threshold from n scores can promise, or scores that are no numbers.
    """
    n = len(held)
    count = allowed(n, fpr)
    if bad := int(held.isnan().sum()):
        raise SettingError(f"{bad} of {n:,} held-out scores are no numbers; look for what the model says of those examples")
    threshold = float(held.double().sort().values[n - count])
    sides = [beta_quantile(p, count, n + 1 - count) for p in ((1 - level) / 2, (1 + level) / 2)]
    return Calibration(n, fpr, threshold, count, count / (n + 1), (sides[0], sides[1]), level)


def p_values(held: Tensor, scores: Tensor) -> Tensor:
    """(N,) float64 conformal p-values, (1 + how many held-out scores are no smaller) / (n + 1), of `scores` (N,).

    For an example that is exchangeable with the held-out ones P(p <= t) <= t, exactly floor(t (n + 1)) / (n + 1) where no
    scores tie; `calibrate(held, fpr)` flags those with p <= fpr. Examples of one call share the held-out scores, so their
    p-values depend on each other, positively: Benjamini and Hochberg's procedure still holds its false-discovery rate.

    Source: Bates et al. 2023, Testing for Outliers with Conformal p-values, arXiv:2104.08279, theorem 2.
    """
    ordered = held.double().sort().values
    smaller = torch.searchsorted(ordered, scores.double().contiguous())  # how many are strictly below
    return (1 + len(ordered) - smaller).double() / (len(ordered) + 1)
