"""Learning rates as functions of the step."""

from __future__ import annotations

from math import cos, pi

from unveil.training.config import Training


def learning_rate(config: Training, step: int, total: int) -> float:
    """The rate of step `step` of `total`.

    All schedules rise linearly over the first `config.warmup` of the steps. 'cosine' and 'one-cycle' then fall to zero,
    along a half cosine and along a line; 'constant' stays. A linear fall spends longer at small rates per unit of
    distance travelled and suits short budgets.

    Source: Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983; Smith & Topin 2018, Super-Convergence, arXiv:1708.07120.
    """
    rise = config.warmup * total
    if step < rise:
        return config.learning_rate * (step + 1) / (rise + 1)
    if config.schedule == "constant":
        return config.learning_rate
    left = (total - step) / max(1.0, total - rise)
    return config.learning_rate * (left if config.schedule == "one-cycle" else 0.5 - 0.5 * cos(pi * left))
