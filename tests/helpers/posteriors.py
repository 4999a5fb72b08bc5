"""Sizes and numbers for posteriors in flat space."""

import torch

B, D, K = 5, 4, 6


def numbers(*shape, scale=1.0, seed=0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
