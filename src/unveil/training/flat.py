"""The weights as one long vector, so that clipping, Adam and averaging are one operation each and not one per layer.

In bfloat16 training the vector stays float32, and the layers whose products run in bfloat16 read a shadow of it in that
type. Autocast would make the same casts tensor by tensor, forward and backward, in every step: on two CPU cores that is a
quarter of the step of a small network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.training.cut import Cut
from unveil.training.team import ALONE, Team

PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that do nothing with their weights but a matrix product or a convolution."""
ROOM = 8
"""Numbers that a message has beside the gradients."""


def in_order(module: nn.Module, parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Parameters of a module in the order in which they lie in the vector.

    Those with a shadow come first, so that one copy refreshes it; in full precision too, so that a checkpoint means the
    same weights in both.
    """
    lowered = _lowered(module)
    return sorted(parameters, key=lambda parameter: id(parameter) not in lowered)


def _lowered(module: nn.Module) -> set[int]:
    """Which parameters have a shadow, by their identity."""
    return {id(p) for layer in module.modules() if isinstance(layer, PRODUCTS) for p in layer.parameters()}


class Flat:
    """The trainable parameters of a module, laid out in one float vector.

    Args:
        module: whose parameters; moving it to another device afterwards breaks the bond.
        low: type in which the weights of `PRODUCTS` layers are read in training; None for their own.
        team: the ranks.
        shard: whether each of them steps a slice of the weights alone.

    Attributes:
        values: (P,) the weights.
        cut: which slice of them is whose.
        own: the slice that this rank steps, where it is in `values`; all of them, where nothing is cut.
        grads: (P,) what `gather` found.
        message: (P + ROOM,) the gradients and what else a step has to tell to other ranks, so that it is told at once.

    Raises:
        SettingError: nothing to train, or parameters of several types.
    """

    def __init__(self, module: nn.Module, low: torch.dtype | None = None, team: Team = ALONE, shard: bool = False) -> None:
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not trained:
            raise SettingError("the model has no weights to train")
        if len({parameter.dtype for parameter in trained}) > 1:
            raise SettingError("the model mixes parameters of several types; bring it to one by model.float()")
        self.parameters = in_order(module, trained)
        self._sizes = [parameter.numel() for parameter in self.parameters]
        lowered = _lowered(module)
        self._shadowed = 0 if low is None else sum(id(parameter) in lowered for parameter in self.parameters)
        self.values = torch.cat([parameter.detach().flatten() for parameter in self.parameters])
        self.cut = Cut(len(self.values), team, shard)
        self.own = self.values[self.cut.mine]
        self.message = torch.zeros(len(self.values) + ROOM, dtype=self.values.dtype, device=self.values.device)
        self.grads = self.message[: len(self.values)]
        self._held = False
        self._places = [place.view_as(p) for place, p in zip(self._split(self.grads), self.parameters, strict=True)]
        self._shadow = self.values[: sum(self._sizes[: self._shadowed])].to(low or self.values.dtype)
        shadows = self._shadow.split(self._sizes[: self._shadowed])
        live = [*shadows, *self._split(self.values)[self._shadowed :]]
        self._install([piece.view_as(parameter) for parameter, piece in zip(self.parameters, live, strict=True)])

    def _split(self, vector: Tensor) -> list[Tensor]:
        return list(vector.split(self._sizes))

    def _install(self, pieces: list[Tensor]) -> None:
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.data = piece

    def gather(self) -> Tensor:
        """(P,) the gradients, taken from the parameters; zero where a parameter played no part. Or those that are held."""
        if self._held:
            self._held = False
            return self.grads
        for place, parameter in zip(self._places, self.parameters, strict=True):
            if parameter.grad is None:
                place.zero_()
            else:
                place.copy_(parameter.grad)
                parameter.grad = None
        return self.grads

    @torch.no_grad()
    def hold(self) -> None:
        """Take the gradients from the parameters and add them to those held, until somebody gathers them."""
        if not self._held:
            self.gather()
            self._held = True
            return
        for place, parameter in zip(self._places, self.parameters, strict=True):
            if parameter.grad is not None:
                place.add_(parameter.grad)
                parameter.grad = None

    def publish(self) -> None:
        """Let all ranks and the layers see what `own` is after it changed."""
        self.cut.gather_(self.values)
        self._shadow.copy_(self.values[: len(self._shadow)])

    def whole(self, own: Tensor) -> Tensor:
        """(P,) a vector of which each rank has its slice `own`, until the next gradients: it takes their place."""
        if self.cut.whole:
            return own
        self.grads[self.cut.mine] = own
        return self.cut.gather_(self.grads)

    @contextmanager
    def using(self, vector: Tensor) -> Iterator[None]:
        """Within, the module computes with the weights in `vector` (P,), in full precision."""
        before = [parameter.data for parameter in self.parameters]  # which are others once they are released
        self._install([piece.view_as(p) for p, piece in zip(self.parameters, self._split(vector), strict=True)])
        try:
            yield
        finally:
            self._install(before)

    def release(self) -> None:
        """Give every parameter memory of its own again, in full precision."""
        pieces = zip(self.parameters, self._split(self.values), strict=True)
        self._install([piece.view_as(parameter).clone() for parameter, piece in pieces])
