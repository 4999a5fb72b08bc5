"""A figure is a number with what makes it one: its unit, how many it was averaged over, and its standard error."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Figure:
    """A mean over examples.

    Attributes:
        value: the mean.
        stderr: its standard error over examples: how far another sample of as many would lie off.
        n: examples.
        unit: of value and stderr.
    """

    value: float
    stderr: float
    n: int
    unit: str = "nats"

    @classmethod
    def over(cls, values: Tensor, unit: str = "nats") -> Figure:
        """The mean of `values` (N,); with one example its error is unknown and stands as 0."""
        values = values.double()
        stderr = float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0
        return cls(float(values.mean()), stderr, len(values), unit)

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.stderr:.2f} {self.unit} (n = {self.n:,})"
