"""The first tensor that is not finite: one training step's forward pass under watch, then its backward pass.

Hooks on every module see what goes in and what comes out, in the order of time. What is computed between modules, the
densities and the loss, is in the draw; what the backward pass makes is in the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.data import Batch
from unveil.models import Draw
from unveil.objectives import MODEL
from unveil.training.step import Step

NOWHERE = torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Spot:
    """Where the first tensor that is not finite was seen.

    Attributes:
        module: path of the module, as in `model.posterior.network`; empty for what no module makes.
        tensor: which of its tensors, in words.
        rows: (R,) int64, positions in the batch to which the entries belong; empty where they belong to none.
    """

    module: str
    tensor: str
    rows: Tensor


def find(step: Step, batch: Batch, t: Tensor, gaps: bool = False) -> Spot | None:
    """The first tensor of one forward and backward pass that is not finite; None where all are.

    The default generators are to be seeded as for the step. Weights and gradients are left as they are, buffers that move
    in a forward pass in training mode are not.

    Args:
        step: in the mode in which it is to run.
        batch: B examples.
        t: time in epochs.
        gaps: whether NaN in x is a gap in a table, and no error.
    """
    size = len(batch.x)
    gapped = batch.x if gaps else None
    for name, tensor in [*step.named_parameters(), *step.named_buffers()]:
        if not _sound(tensor):
            path, _, own = name.rpartition(".")
            return Spot(path, f"the weight {own!r}", NOWHERE)
    if not _sound(torch.where(batch.x.isnan(), 0.0, batch.x) if gaps else batch.x):
        return Spot("", "x itself", _rows(batch.x, size))
    with torch.enable_grad():
        with _watched(step, size, gapped) as (seen, gradients):
            draw = step.model.draw(batch, step.objective.samples or 1, step.objective.gradient or "pathwise")
        if seen:
            return seen[0]
        with _watched(step, size, gapped) as (seen, _):
            loss = step.objective(draw, step.model, t)
    losses = {MODEL: loss} if isinstance(loss, Tensor) else dict(loss)
    if all(map(_sound, losses.values())):
        return _backward(step, losses, gradients)
    # densities are computed between modules, before any term of the objective sees them
    within = [Spot("", name, _rows(tensor, size)) for name, tensor in _in_draw(draw) if not _sound(tensor)]
    names = ((f"the loss of player {name!r}" if len(losses) > 1 else "the loss", one) for name, one in losses.items())
    return [*within, *seen, *(Spot("", name, _rows(one, size)) for name, one in names if not _sound(one))][0]


@contextmanager
def _watched(step: Step, size: int, gapped: Tensor | None) -> Iterator[tuple[list[Spot], list[Spot]]]:
    """Within, the first thing that goes into a module or comes out of it and is not finite is put into the first list.

    The first gradient of such a thing that is not, whenever the backward pass comes to it, is put into the second.
    """
    seen: list[Spot] = []
    gradients: list[Spot] = []
    with ExitStack() as stack:
        for name, module in step.named_modules():
            if name:
                for hook in _hooks(name, module, size, gapped, seen, gradients):
                    stack.callback(hook.remove)
        yield seen, gradients


def _hooks(
    name: str, module: nn.Module, size: int, gapped: Tensor | None, seen: list[Spot], gradients: list[Spot]
) -> Iterator[Any]:
    """Hooks that add to `seen` what goes into this module, or comes out of it, and is not finite; likewise gradients.

    x itself may have gaps where `gapped` is it.
    """

    def look(what: str, value: Any) -> None:
        for part, tensor in _tensors(value):
            if not seen and tensor is not gapped and not _sound(tensor):
                seen.append(Spot(name, _called(what, part), _rows(tensor, size)))

    def before(module: nn.Module, inputs: Any) -> None:
        look("the input", inputs)

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        look("the output", output)
        for part, tensor in _tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(partial(back, part))

    def back(part: str, gradient: Tensor) -> None:
        if not gradients and not _sound(gradient):
            gradients.append(Spot(name, _called("the gradient of the output", part), _rows(gradient, size)))

    yield module.register_forward_pre_hook(before)
    yield module.register_forward_hook(after)


def _called(what: str, part: str) -> str:
    return f"{what} ({part})" if part else what


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a module is given or gives, by name; those of a draw are looked at elsewhere."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part, name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors(part, str(key))
    elif isinstance(value, Distribution):
        for key, part in vars(value).items():
            for inner, tensor in _tensors(part, key.lstrip("_")):
                # minus infinity is the logarithm of no mass, which a component of a mixture may have
                yield inner, tensor.masked_fill(tensor == -torch.inf, 0) if (tensor == -torch.inf).any() else tensor


def _in_draw(draw: Draw) -> Iterator[tuple[str, Tensor]]:
    """What a draw holds, in the order in which it is computed; log-densities where there are any."""
    yield from (
        (f"z{f' of layer {place + 1}' if len(draw.z) > 1 else ''}", z.movedim(1, 0)) for place, z in enumerate(draw.z)
    )
    yield from ((f"the {name} of p(x|z)", part) for name, part in _tensors(draw.output))
    yield "log p(x|z)", draw.log_px.T
    if draw.rated:
        yield from (("the KL", kl.T) for kl in draw.kl)


def _sound(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _rows(tensor: Tensor, size: int) -> Tensor:
    """Which of the batch's B examples entries that are not finite belong to, where the shape tells.

    A module sees (B, ...) or (K B, ...), K draws folded into the batch; a distribution has (K, B, ...).
    """
    bad = ~torch.isfinite(tensor)
    if bad.dim() == 0:
        return NOWHERE
    if len(bad) != size and bad.dim() > 1 and bad.shape[1] == size:
        bad = bad.movedim(1, 0)
    if len(bad) % size:
        return NOWHERE
    bad = bad.flatten(1).any(1) if bad.dim() > 1 else bad
    return bad.view(-1, size).any(0).nonzero().flatten().cpu()


def _backward(step: Step, losses: Mapping[str, Tensor], gradients: list[Spot]) -> Spot | None:
    """The first gradient that is not finite though the loss is: of what a module gave, else of a weight."""
    players, named = step.players(), {id(parameter): name for name, parameter in step.named_parameters()}
    for player, loss in losses.items():
        mine = [parameter for parameter in players[player] if parameter.requires_grad]
        found = torch.autograd.grad(loss.mean(), mine, retain_graph=True, allow_unused=True)
        if gradients:
            return gradients[0]
        own = [(parameter, gradient) for parameter, gradient in zip(mine, found, strict=True) if gradient is not None]
        for parameter, gradient in own:
            if not _sound(gradient):
                path, _, name = named[id(parameter)].rpartition(".")
                return Spot(path, f"the gradient of the weight {name!r}", NOWHERE)
        if own and not _sound(torch.stack([gradient.float().norm() for _, gradient in own]).norm()):
            return Spot("", "the norm of the gradient", NOWHERE)
    return None
