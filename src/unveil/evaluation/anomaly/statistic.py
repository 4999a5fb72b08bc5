"""What is made of nats to tell an anomaly: the nats themselves, their distance from typical ones, or what is left of them.

A low p(x) alone is no safe sign. Images that are simpler than the data, or lie closer to the middle of all that the data
spread over, get likelihoods above those of the data themselves. Against that, `typicality` flags what is too probable as
well as what is too improbable, and `complexity` takes from -log p(x) what the image costs without the model.

Source: Nalisnick et al. 2019, Do Deep Generative Models Know What They Don't Know?, arXiv:1810.09136.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.evaluation.anomaly.complexity import code_length
from unveil.evaluation.anomaly.measured import Measured
from unveil.randomness import generator

CENTRE = 0.25
"""Share of the held-out examples that say what is typical; they have no part in the threshold."""
CODED = 2_000
"""Images whose complexity is counted at a time."""


@dataclass(frozen=True)
class Fitted:
    """A score made from held-out examples.

    Attributes:
        held: (n,) scores of those held-out examples that nothing was taken from, for the threshold.
        of: scores (N,) of other examples; higher is more anomalous.
        words: what the score is.
        centre: nats that are typical, where the score looks at them.
    """

    held: Tensor
    of: Callable[[Measured], Tensor]
    words: str
    centre: float | None = None


def likelihood(held: Measured) -> Fitted:
    """The nats themselves: one-sided, blind to what the model finds more probable than the data."""
    return Fitted(held.nats, lambda new: new.nats, held.quantity)


def typicality(held: Measured) -> Fitted:
    r"""The distance of the nats from those of the data, on either side.

    .. math:: t(x) = |-\log p(x) - H|, \quad H = \mathrm{mean}_i(-\log p(x_i))

    The mean is over a quarter of the held-out examples, drawn as a function of the seed, and the threshold from the others:
    were it from the same ones, they would lie closer to their own mean than a new example does.

    Source: Nalisnick et al. 2019, Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality,
    arXiv:1906.02994, for groups of one example.
    """
    order = torch.randperm(len(held.nats), generator=generator(held.seed, "centre", len(held.nats)))
    few = len(order) - _left(len(order))
    centre = float(held.nats[order[:few]].mean())
    return Fitted(
        (held.nats[order[few:]] - centre).abs(),
        lambda new: (new.nats - centre).abs(),
        f"|{held.quantity} - {centre:,.2f}|, the mean of {few:,} held-out examples",
        centre,
    )


def _left(n: int) -> int:
    """Of `n` held-out examples, how many are left for the threshold."""
    return n - max(1, round(CENTRE * n))


def complexity(held: Measured) -> Fitted:
    r"""What the model needs for an image beyond what the image needs by itself, one-sided.

    .. math:: s(x) = -\log p(x) - L(x)

    L is the code length of a binary image under a code that learns from it alone (`code_length`), so that s is the log of
    a ratio of two probabilities of the same x: a blank image is probable under both, and s says so.

    Source: Serrà et al. 2020, Input Complexity and Out-of-Distribution Detection with Likelihood-Based Generative Models,
    arXiv:1909.11480, where L comes from a compressor.
    """

    def of(new: Measured) -> Tensor:
        lengths = [code_length(batch.x) for batch in new.split.batches(CODED, new.seed)]
        return new.nats - torch.cat(lengths)

    return Fitted(of(held), of, f"{held.quantity} - complexity")


@dataclass(frozen=True)
class Statistic:
    """A kind of score.

    Attributes:
        fit: measured held-out examples to the score.
        left: of n held-out examples, how many it leaves for the threshold.
    """

    fit: Callable[[Measured], Fitted]
    left: Callable[[int], int] = lambda n: n


STATISTICS: dict[str, Statistic] = {
    "typicality": Statistic(typicality, _left),
    "likelihood": Statistic(likelihood),
    "complexity": Statistic(complexity),
}
"""Every score by its name."""
