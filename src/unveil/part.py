"""The two smallest pieces of the seam: what a conditional distribution is, and what may have state beyond its weights.

A *conditional* is p(z), q(z|x) or p(x|z) alike: it takes what is given and returns a distribution. A *part* is a module
that the training loop talks to between steps. Whatever a part is built from stands under the same name among its
attributes (`Gaussian(16).event_shape == (16,)`), which is how a saved run knows what to build again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.distributions import Distribution

from unveil.errors import SettingError

if TYPE_CHECKING:
    from unveil.data import Measure, Split


class Conditional(Protocol):
    """p(z), q(z|x) or p(x|z): a context in, a distribution out."""

    def __call__(self, given: Tensor | None = None, context: Tensor | None = None, leading: int = 1) -> Distribution:
        """The distribution of one thing given another.

        Args:
            given: (*lead, *event) x for a posterior, z for a likelihood. A prior gets (B,), the rows in the training set
                that its examples are, which one made of training data may not lean on; None where there are none.
            context: (*lead, C) what the whole model is conditioned on; None for an unconditional one.
            leading: how many dimensions of `given` index draws and examples; the rest are one example. A posterior's or
                a likelihood's distribution has those as its batch shape, a prior's has () or (B,).
        """
        ...


class Likelihood(Conditional, Protocol):
    """p(x|z), which also says what its nats mean."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the spaces of x that it is for."""
        ...

    @property
    def normalised(self) -> bool:
        """Whether `log_prob` is a log-likelihood of x; if not, no figure made from it is printed as one."""
        ...


class Part(nn.Module):
    """A module that may move its own state between steps; a forward pass never does.

    Both hooks do nothing unless a part says otherwise.

    Attributes:
        carries: what of the training data its weights hold, in words; empty for nothing but what was learned.
    """

    carries: ClassVar[str] = ""

    def prepare(self, data: Split, t: float) -> None:
        """Called before each epoch with the training split and the time `t` in epochs.

        What it draws from torch's generators is a function of the run's seed, of the number of the epoch's first step, and
        of what the parts before it have drawn. What it finds for the forward pass goes into a buffer, in place: a step on a
        GPU is captured once, and reads where it read then.
        """

    def update(self, draw: Any) -> None:
        """Called after a step that was found finite, with the draw that the step was made from.

        Where several processes make a step, or one process makes it in several parts, the draw is of a part of its batch:
        what is to move alike everywhere reads `draw.gather(...)`, and does so before it changes anything.
        """


def carried(model: nn.Module) -> list[str]:
    """What of the training data the weights of a model hold, in words; empty for nothing but what was learned."""
    return sorted({part.carries for part in model.modules() if isinstance(part, Part) and part.carries})


def keep_home(model: nn.Module, otherwise: str) -> None:
    """See that no data would leave with a model.

    Args:
        model: that is to leave without data.
        otherwise: what of them would leave, as the end of a sentence.

    Raises:
        SettingError: its weights hold some.
    """
    if held := carried(model):
        raise SettingError(
            f"this model's prior is made of {' and '.join(held)}, {otherwise}; leave --no-data out, or fit another prior: "
            "unveil refit-prior RUN --prior mixture"
        )


def pieces(n: int, most: int) -> Iterator[slice]:
    """Where `n` rows are, at most `most` at a time; there is no range() and no min() of an `n` that a trace leaves open."""
    start = 0
    while start < n:
        yield slice(start, start + most if start + most < n else n)
        start += most


@contextmanager
def resting(*modules: nn.Module) -> Iterator[None]:
    """Within, every layer of `modules` is in evaluation mode: nothing is dropped, and no running mean moves."""
    layers = [layer for module in modules for layer in module.modules()]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
