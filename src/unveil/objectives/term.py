"""A term reads a draw and returns a loss for each example, in nats. Terms add and scale: `Distortion() + 4 * Rate()`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.models import Draw, Model
from unveil.part import Part


class Term(Part):
    """A draw to a loss for each example.

    Attributes:
        samples: K, how many draws of z it wants for each example.
        couples: whether an example's loss depends on the rest of the batch; if not, results do not depend on how a
            batch is cut.
    """

    samples: int = 1
    couples: ClassVar[bool] = False

    @abstractmethod
    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        """(B,) nats to minimise, at time `t`, a scalar in epochs."""

    def __add__(self, other: Term) -> Sum:
        return Sum([*_terms(self), *_terms(other)])

    def __mul__(self, weight: float) -> Scaled:
        return Scaled(self, weight)

    __rmul__ = __mul__


class Sum(Term):
    """Terms added up.

    Args:
        terms: at least one; they must want the same number of draws.

    Raises:
        SettingError: they want different draws, which no single draw can give.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        if len({term.samples for term in terms}) != 1:
            needs = ", ".join(f"{type(term).__name__} {term.samples}" for term in terms)
            raise SettingError(f"these terms want different numbers of draws and cannot be added: {needs}")
        self.terms = nn.ModuleList(terms)
        self.samples = terms[0].samples

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        losses = [term(draw, model, t) for term in self.terms]
        total: Tensor = sum(losses[1:], start=losses[0])
        return total


class Scaled(Term):
    """A term times a constant.

    Args:
        term: what is scaled.
        weight: by how much.
    """

    def __init__(self, term: Term, weight: float) -> None:
        super().__init__()
        self.term, self.weight, self.samples = term, weight, term.samples

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        loss: Tensor = self.weight * self.term(draw, model, t)
        return loss


class Warmup(Term):
    """A term whose weight rises linearly from 0 to 1, then stays.

    Over the rate this is KL annealing: the decoder learns to use z before z has its full price. While the weight is
    below one, the sum is no bound on log p(x).

    Args:
        term: what is warmed up.
        epochs: how long the rise takes, at least 0.

    Source: Bowman et al. 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349; Sønderby et al. 2016,
    Ladder Variational Autoencoders, arXiv:1602.02282.
    """

    def __init__(self, term: Term, epochs: float) -> None:
        super().__init__()
        if epochs < 0:
            raise SettingError(f"a warm-up cannot take {epochs} epochs; give 0 for none")
        self.term, self.epochs, self.samples = term, epochs, term.samples

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Tensor:
        loss: Tensor = self.term(draw, model, t)
        return loss * (t / self.epochs).clamp(max=1) if self.epochs else loss


def _terms(term: Term) -> list[Term]:
    return [part for part in term.terms if isinstance(part, Term)] if isinstance(term, Sum) else [term]
