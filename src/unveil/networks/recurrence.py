"""A step that is taken again and again, each time from what the former left; a graph holds it once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

Tensors = tuple[Tensor, ...]


def recur(step: nn.Module, state: Tensors, given: Tensors) -> Tensors:
    """What `step` makes of a state and of each row of `given` in turn.

    Args:
        step: (state, one row of each of `given`) to (the next state, what is kept); it draws nothing at random.
        state: to begin with; shapes and types stay the same.
        given: (T, ...) each.

    Returns:
        (T, ...) each of what is kept.
    """
    if torch.compiler.is_exporting():
        return _scanned(step, state, given)
    kept = []
    for row in zip(*given, strict=True):
        state, made = step(state, row)
        kept.append(made)
    return tuple(torch.stack(parts) for parts in zip(*kept, strict=True))


def _scanned(step: nn.Module, state: Tensors, given: Tensors) -> Tensors:
    """The same as one operation of a graph, which holds the step once however long the loop is."""
    from torch._higher_order_ops.scan import scan_op

    weights = dict(step.named_parameters())
    left, right = len(state), len(state) + len(given)

    def flat(*tensors: Tensor) -> list[Tensor]:
        own = dict(zip(weights, tensors[right:], strict=True))
        after, made = functional_call(step, own, (tensors[:left], tensors[left:right]))
        return [*after, *made]

    return tuple(scan_op(flat, list(state), list(given), tuple(weights.values()))[left:])
