"""Every x under every one of many distributions: a table, which for some families is one matrix product.

A grid of decoded points is such a batch of distributions, and a data set is evaluated on all of them at once. What
`log_prob` would do entry by entry, at the speed of memory, a product does at the speed of arithmetic.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

NUMBERS = 2**22
"""Most numbers of x under a distribution that are held at a time, where there is no product."""


@runtime_checkable
class Tabulated(Protocol):
    """Has its table by products of matrices, with what is summed in digits enough."""

    def table(self, x: Tensor) -> Tensor:
        """(G, N) nats of every x (N, *event) under every distribution of the batch (G,)."""
        ...


@torch.no_grad()
def table(output: Distribution, x: Tensor) -> Tensor:
    """(G, N) log p(x_n) under the g-th of `output`, in nats: what `log_prob` gives, but for rounding.

    Args:
        output: distributions, batch shape (G,), whose `log_prob` broadcasts.
        x: (N, *event).
    """
    if isinstance(output, Tabulated):
        return output.table(x)
    each = max(1, NUMBERS // max(1, output.batch_shape.numel() * output.event_shape.numel()))
    return torch.cat([output.log_prob(part.unsqueeze(1)).mT for part in x.split(each)], 1)
