"""A figure is a number with what makes it one: its unit, how many it was averaged over, and its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

from torch import Tensor


@dataclass(frozen=True)
class Figure:
    """A mean over examples.

    Attributes:
        value: the mean.
        stderr: its standard error over examples: how far another sample of as many would lie off, the noise of each
            example's own estimate included. NaN where there is one example, which tells nothing of others.
        n: examples.
        unit: of value and errors.
        estimator: the standard error that would be left if these very examples were estimated anew; None where the value
            of an example is exact or its noise is not known.
    """

    value: float
    stderr: float
    n: int
    unit: str = "nats"
    estimator: float | None = None

    @classmethod
    def over(cls, values: Tensor, unit: str = "nats", noise: Tensor | None = None) -> Figure:
        """The mean of `values` (N,), each of which is an estimate with variance `noise` (N,), NaN where it is not known."""
        values, count = values.double(), len(values)
        stderr = float(values.std() / count**0.5) if count > 1 else nan
        known = noise is not None and not bool(noise.isnan().any())
        estimator = float(noise.double().sum().sqrt() / count) if noise is not None and known else None
        return cls(float(values.mean()), stderr, count, unit, estimator)

    def scaled(self, factor: float, unit: str) -> Figure:
        """The same in a unit of which `factor` make one of this."""
        estimator = None if self.estimator is None else factor * self.estimator
        return Figure(factor * self.value, factor * self.stderr, self.n, unit, estimator)

    def __str__(self) -> str:
        error = "unknown" if isnan(self.stderr) else f"{self.stderr:.2f}"
        return f"{self.value:.2f} ± {error} {self.unit} (n = {self.n:,})"
