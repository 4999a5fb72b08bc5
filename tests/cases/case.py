"""What a case is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A part in the smallest composition that uses it.

    Attributes:
        name: of the part, for the test's id.
        compose: data to (model, objective), freshly initialised from torch's default generator.
        data: what makes the data; None for the 300 images of 6x5 pixels called tiny.
        couples: whether the objective reads across the batch.
        samples: draws of z that the shapes are tested with; None where the objective says.
    """

    name: str
    compose: Callable[[Any], tuple[Any, Any]]
    data: Callable[[], Any] | None = None
    couples: bool = False
    samples: int | None = None


@dataclass(frozen=True)
class Density:
    """A distribution whose samples are held to its density: the mean of r(x) / p(x) over samples x of p is 1.

    Attributes:
        name: for the test's id.
        make: gives p, with batch shape (), float64 where it can.
        reference: gives r, a distribution with the same event whose mass lies inside p's, so that r / p stays small.
    """

    name: str
    make: Callable[[], Any]
    reference: Callable[[], Any]
