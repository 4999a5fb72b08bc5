"""How probable as much is where nothing is wrong: tests of counts among samples against those among held-out data.

Where nothing is wrong, n samples and n held-out examples are 2 n draws from one distribution, in a random order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, lgamma

import torch
from torch import Tensor

from unveil.randomness import generator
from unveil.words import number

ORDERS = 4_999
"""Random orders that the repeats of samples are held against: chances of 1 / 5,000 and more."""


def text(value: float) -> str:
    """A chance, where it is not too small to tell from none."""
    return f"chance {number(value, 2)}" if value >= 1e-6 else "chance below 1e-6"


def below(found: Tensor, held: Tensor, share: float) -> tuple[float, float]:
    """The value below which a share of `held` (M,) is, and how many of `found` (N,) are below it.

    Distances between binary images are whole numbers, so that many are equal to the threshold: of those the part counts
    that makes it that share among the held-out ones.
    """
    rank = share * len(held)
    threshold = held.sort().values[ceil(rank - 1e-9) - 1]
    under, at = int((held < threshold).sum()), int((held == threshold).sum())
    part = (rank - under) / at
    return float(threshold), int((found < threshold).sum()) + part * int((found == threshold).sum())


def chance_below(count: float, n: float, share: float) -> float:
    """The chance that at least `count` of `n` new examples are below the rank share * n of as many others.

    That rank lies at a quantile of its own, which is Beta distributed, so that the count is beta-binomial.
    """
    rank, n = ceil(share * n - 1e-9), int(n)
    a, b = float(rank), float(n + 1 - rank)
    k = torch.arange(int(count), n + 1, dtype=torch.float64)
    choose = lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    beta = torch.lgamma(k + a) + torch.lgamma(n - k + b) - lgamma(n + a + b)
    return min(float((choose + beta - lgamma(a) - lgamma(b) + lgamma(a + b)).logsumexp(0).exp()), 1.0)


def chance_more(count: int, held: int, n: int) -> float:
    """The chance that of count + held such ones among n samples and n held-out examples at least `count` are samples.

    Source: Fisher 1922, On the interpretation of chi-squared from contingency tables (the exact test).
    """
    total = count + held
    k = torch.arange(count, min(total, n) + 1, dtype=torch.float64)

    def ways(chosen: Tensor) -> Tensor:
        return lgamma(n + 1) - torch.lgamma(chosen + 1) - torch.lgamma(n - chosen + 1)

    every = lgamma(2 * n + 1) - lgamma(total + 1) - lgamma(2 * n - total + 1)
    return min(float((ways(k) + ways(total - k) - every).logsumexp(0).exp()), 1.0)


def chance_repeated(samples: Tensor, held: Tensor, seed: int) -> float:
    """The chance that as many of samples (N, *event) are equal to another one, if they and `held` (N, *event) were mixed.

    By random orders of all 2 N, which keep what is equal together however large its clusters are: where x has few
    values, one more or less of them moves many, and no error of independent counts holds.

    Source: Phipson & Smyth 2010, Permutation P-values Should Never Be Zero (the observed order counts as one).
    """
    clusters = _clusters(torch.cat([samples, held]))
    counts = clusters.bincount()
    twins = counts[clusters] > 1
    n, alike = len(samples), clusters[twins].unique(return_inverse=True)[1]
    kinds = int((counts > 1).sum())
    if not kinds:
        return 1.0

    def repeated(chosen: Tensor) -> int:
        """How many of the chosen of `alike` are equal to another chosen one."""
        each = alike[chosen].bincount(minlength=kinds)
        return int(each[each > 1].sum())

    ours = torch.arange(2 * n)[twins] < n
    seen, reached, source = repeated(ours), 0, generator(seed, "orders", n)
    for _ in range(ORDERS):
        order = torch.randperm(2 * n, generator=source)[: len(alike)]
        reached += repeated(order < n) >= seen
    return (1 + reached) / (1 + ORDERS)


def fewest(n: int, chance: Callable[[int], float], alarm: float) -> int:
    """The smallest count of n whose chance is below `alarm`; n + 1 where there is none. Chances fall with the count."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) < alarm else (middle + 1, high)
    return low


def _clusters(x: Tensor) -> Tensor:
    """(N,) int64 one number for all of x (N, *event) that are equal."""
    numbers: dict[bytes, int] = {}
    return torch.tensor([numbers.setdefault(row.tobytes(), len(numbers)) for row in (x + 0.0).flatten(1).numpy()])


def distinct(x: Tensor) -> Tensor:
    """(M,) positions of the first of each of x (N, *event) that are equal."""
    clusters = _clusters(x)
    first = torch.full((int(clusters.max()) + 1,), len(x))
    return first.scatter_reduce(0, clusters, torch.arange(len(x)), "amin")
