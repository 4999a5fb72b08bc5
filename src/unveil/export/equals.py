"""Functions that ONNX, or onnxruntime in double precision, does not have, by those that it has.

They are equal but for rounding, and stand in while a graph is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

SHIFT = 8
"""Stirling's series has seven digits from here on."""


class Equals(TorchFunctionMode):
    """Within, functions are computed by what graphs have."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return EQUALS.get(func, func)(*args, **(kwargs or {}))


def _log1p(x: Tensor) -> Tensor:
    """Source: Goldberg 1991, What Every Computer Scientist Should Know About Floating-Point Arithmetic, theorem 4."""
    above = 1 + x
    gap = above - 1
    return torch.where(gap == 0, x, above.log() * (x / torch.where(gap == 0, 1.0, gap)))


def _expm1(x: Tensor) -> Tensor:
    """Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 1.14.1."""
    power = x.exp()
    gap, logarithm = power - 1, power.log()
    near = (gap != 0) & (x.abs() < 1)
    return torch.where(near, gap * (x / torch.where(near, logarithm, 1.0)), torch.where(gap == 0, x, gap))


def _atanh(x: Tensor) -> Tensor:
    return 0.5 * (_log1p(x) - _log1p(-x))


def _asin(x: Tensor) -> Tensor:
    return torch.asin(x.float()).to(x.dtype)


def _lgamma(x: Tensor) -> Tensor:
    """For positive x, by Stirling's series at x + 8; in double precision, for near 1 and 2 what is large cancels."""
    near = x.double()
    far = near + SHIFT
    steps = torch.stack([near + step for step in range(SHIFT)], -1).log().sum(-1)
    small = 1 / far.square()
    series = (1 / 12 - small * (1 / 360 - small / 1260)) / far
    return ((far - 0.5) * far.log() - far + 0.5 * log(2 * pi) + series - steps).to(x.dtype)


def _log_sigmoid(x: Tensor) -> Tensor:
    return -F.softplus(-x)


def _cdist(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1).sqrt()


def _assign(x: Tensor, where: Any, value: Any) -> None:
    """Of what is said by a mask, without counting how many that are."""
    if isinstance(where, Tensor) and where.dtype == torch.bool and where.shape == x.shape:
        x.copy_(torch.where(where, value, x))
    else:
        x[where] = value


EQUALS: dict[Any, Callable[..., Any]] = {
    torch.log1p: _log1p,
    torch.Tensor.log1p: _log1p,
    torch.expm1: _expm1,
    torch.Tensor.expm1: _expm1,
    torch.atanh: _atanh,
    torch.Tensor.atanh: _atanh,
    torch.asin: _asin,
    torch.Tensor.asin: _asin,
    torch.lgamma: _lgamma,
    torch.Tensor.lgamma: _lgamma,
    torch.cdist: _cdist,
    torch.Tensor.__setitem__: _assign,
    F.logsigmoid: _log_sigmoid,
}
