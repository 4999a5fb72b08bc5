"""What keeps an encoder near the codes that are chosen for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.objectives.term import Term


@runtime_checkable
class Committing(Protocol):
    """A posterior that puts something else in the place of what its encoder gave."""

    def gap(self) -> Tensor:
        """(B,) the squared distance between the two, summed over the event."""
        ...


class Commitment(Term):
    r"""The squared distance between what the encoder gave and the codes chosen for it; the codes get no gradient.

    .. math:: \text{weight} \cdot \sum_i \| h_i - \mathrm{sg}[e_i] \|^2

    A sum over positions and dimensions for each example, as the distortion beside it is one over pixels, and a mean over
    nothing; the paper takes the mean over positions. It is no nats and no part of a bound: a penalty that the
    straight-through gradient needs in order to stay honest. Value and gradient are exact.

    Args:
        weight: the paper's beta, at least 0.

    Returns:
        (B,), in the squared units of z.

    Raises:
        SettingError: a negative weight, or a posterior that chooses no codes.

    Source: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937, equation 3.
    """

    def __init__(self, weight: float = 0.25) -> None:
        super().__init__()
        if not weight >= 0:
            raise SettingError(f"a commitment of weight {weight} would drive the encoder away; give at least 0")
        self.weight = weight

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        if not isinstance(draw.posterior, Committing):
            raise SettingError(
                f"{type(draw.posterior).__name__} chooses no codes to commit to; take Quantised(), or no Commitment()"
            )
        return self.weight * draw.posterior.gap()
