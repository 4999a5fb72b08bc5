"""How many nats an image takes without any model of what it shows: what its own repetitions leave."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from unveil.errors import SettingError

NEIGHBOURS = ((1, 0), (0, 1), (0, 2), (0, 0))
"""Where a pixel's context stands in the image padded by one: west, and the three to the north."""


def code_length(x: Tensor) -> Tensor:
    r"""(B,) float64 nats of binary images (B, C, H, W) under a code that learns from each image alone.

    .. math:: L(x) = -\sum_c \log \frac{B(n_{c0} + \frac12, n_{c1} + \frac12)}{B(\frac12, \frac12)}

    A pixel's context c is what stands to its west, north-west, north and north-east, 16 kinds; n_c0 and n_c1 count the
    zeros and ones that followed it. exp(-L) is a probability of x, the product of each pixel's given those before it, and
    sums to one over all images. Smooth or repetitive images have short codes, noise about log 2 a pixel.

    Raises:
        SettingError: x that are no binary images.

    Source: Krichevsky & Trofimov 1981, The Performance of Universal Encoding, IEEE Transactions on Information Theory.
    """
    if x.dim() != 4 or bool(((x != 0) & (x != 1)).any()):
        raise SettingError("the complexity of an image is counted in binary pixels here; take 'typicality' for other data")
    height, width = x.shape[-2:]
    bits = x.long()
    padded = F.pad(bits, (1, 1, 1, 0))
    context = sum(
        padded[..., row : row + height, column : column + width] << place for place, (row, column) in enumerate(NEIGHBOURS)
    )
    cell = (2 * context + bits).flatten(1)
    counts = torch.zeros(len(x), 32, dtype=torch.float64, device=x.device)
    counts.scatter_add_(1, cell, torch.ones_like(cell, dtype=torch.float64))
    zeros, ones = counts[:, 0::2], counts[:, 1::2]
    # B(1/2, 1/2) is pi; a context that never occurs adds log 1
    lengths = torch.lgamma(zeros + ones + 1) - torch.lgamma(zeros + 0.5) - torch.lgamma(ones + 0.5) + log(pi)
    return lengths.sum(1)
