"""A figure is a number with what makes it one: its unit, how many it was averaged over, and its standard error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, isfinite, log10, nan

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

    def negative(self) -> Figure:
        """Minus this."""
        return replace(self, value=-self.value)

    def __str__(self) -> str:
        return f"{self.pair()} {self.unit} (n = {self.n:,})"

    def pair(self, most: int = 6) -> str:
        """Value and error, '0.0312 ± 0.0060', to two digits of the error: at least 2 decimals and no more than `most`."""
        places = decimals(self.stderr, most)
        error = f"{self.stderr:,.{places}f}" if isfinite(self.stderr) else "unknown"
        return f"{self.value:,.{places}f} ± {error}"


def decimals(error: float, most: int = 6) -> int:
    """How many decimals show two digits of an error, from 2 to `most`; 2 where it is none or unknown."""
    return min(max(1 - floor(log10(error)), 2), most) if isfinite(error) and error > 0 else 2


def share(count: float, n: int) -> Figure:
    """The share that `count` of `n` are, with its binomial standard error.

    The error is that of (count + 1) of (n + 2), so that none or all of a few do not pass for certain: of none it is about
    1 / n, and 1.15 / n is what a share may be with a chance of 0.32 that none are found.
    """
    near = (count + 1) / (n + 2)
    return Figure(count / n, (near * (1 - near) / n) ** 0.5, n, "share")
