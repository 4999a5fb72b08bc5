"""The head of an autoencoder: one point for each x, and no density around it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from unveil.distributions import Delta
from unveil.errors import SettingError
from unveil.parts.heads import Head


class Point(Head):
    """All mass on the parameters: as a posterior it makes an autoencoder, whose rate is infinite.

    Args:
        event_shape: shape of one z, or the number D of dimensions of a vector.

    Raises:
        SettingError: a shape without dimensions, or parameters of another shape.
    """

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        self.event_shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if min(self.event_shape, default=0) < 1:
            raise SettingError(f"a point of shape {self.event_shape} has no dimensions; give positive numbers")

    def forward(self, parameters: Tensor) -> Delta:
        dims = len(self.event_shape)
        if parameters.shape[-dims:] != self.event_shape:
            given = tuple(parameters.shape[-dims:])
            raise SettingError(f"Point{self.event_shape} takes parameters of its shape; the network gave {given}")
        return Delta(parameters.float(), dims)
