"""A term reads a draw and returns a loss for each example, in nats. Terms add and scale: `Distortion() + 4 * Rate()`.

A term says which draw it needs: how many values of z, and how they carry gradient. Most do not care and say None; those
that are added must agree. A term with players returns a loss for each of them (`{"model": ..., "critic": ...}`), and
every player's weights follow their own loss alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unveil.errors import SettingError
from unveil.models import Draw, Gradient, Model
from unveil.part import Part
from unveil.words import counted

MODEL = "model"
"""The player that everything belongs to unless a term says otherwise."""
Loss = Tensor | Mapping[str, Tensor]
"""(B,) nats to minimise, or that for each player."""


class Term(Part):
    """A draw to a loss for each example.

    Attributes:
        samples: K, how many draws of z it wants for each example; None for any number.
        gradient: how the draws are to carry gradient; None for any way.
        couples: whether an example's loss depends on the rest of the batch; if not, results do not depend on how a
            batch is cut.
        reads_z: whether the loss depends on the draws of z, so that a gradient through them is due.
    """

    samples: int | None = None
    gradient: Gradient | None = None
    couples: bool = False
    reads_z: bool = True

    @abstractmethod
    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        """The loss at time `t`, a scalar in epochs."""

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Whose weights follow a loss of their own; the rest belong to 'model'."""
        return {}

    def __add__(self, other: Term) -> Sum:
        return Sum([*_terms(self), *_terms(other)])

    def __mul__(self, weight: float) -> Scaled:
        return Scaled(self, weight)

    __rmul__ = __mul__


def each(loss: Loss, change: Any) -> Loss:
    """A loss changed by a function, for every player."""
    if isinstance(loss, Tensor):
        changed: Loss = change(loss)
        return changed
    return {name: change(part) for name, part in loss.items()}


class Sum(Term):
    """Terms added up.

    A player's loss is the sum of the losses that the terms have for it, or else for the model.

    Args:
        terms: at least one; those that care must want the same draws.

    Raises:
        SettingError: they want different draws, which no single draw can give.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self.samples = _agreed(terms, "samples", "numbers of draws")
        self.gradient = _agreed(terms, "gradient", "gradients")
        self.couples = any(term.couples for term in terms)
        self.reads_z = any(term.reads_z for term in terms)
        if self.gradient == "dreg" and len(terms) > 1:
            raise SettingError(
                "a doubly reparameterised bound weights every gradient that reaches z, so nothing can be added to it; "
                "take 'pathwise' or 'sticking' instead"
            )
        if self.gradient == "score" and any(term.gradient is None and term.reads_z for term in terms):
            raise SettingError(
                "z carries no gradient where the score function is taken, so that other terms of z would not reach the "
                "encoder; take the score function alone"
            )

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        losses = [term(draw, model, t) for term in self.terms]
        names = {name: None for loss in losses if not isinstance(loss, Tensor) for name in loss}  # in order
        if not names:
            return _total(losses)
        return {
            name: _total([loss if isinstance(loss, Tensor) else loss.get(name, loss[MODEL]) for loss in losses])
            for name in names
        }

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Those of all terms."""
        return {name: part for term in _terms(self) for name, part in term.players(model).items()}


def _total(losses: list[Any]) -> Tensor:
    total: Tensor = sum(losses[1:], start=losses[0])
    return total


def _agreed(terms: Sequence[Term], attribute: str, what: str) -> Any:
    wanted = [(type(term).__name__, value) for term in terms if (value := getattr(term, attribute)) is not None]
    if len({value for _, value in wanted}) > 1:
        needs = ", ".join(f"{name} {value}" for name, value in wanted)
        raise SettingError(f"these terms want different {what} and cannot be added: {needs}")
    return wanted[0][1] if wanted else None


class Scaled(Term):
    """A term times a constant.

    Args:
        term: what is scaled.
        weight: by how much.
    """

    def __init__(self, term: Term, weight: float) -> None:
        super().__init__()
        self.term, self.weight = term, weight
        self.samples, self.gradient, self.couples = term.samples, term.gradient, term.couples
        self.reads_z = term.reads_z

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        return each(self.term(draw, model, t), lambda loss: self.weight * loss)

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Those of the term."""
        return self.term.players(model)


class Warmup(Term):
    """A term whose weight rises linearly from 0 to 1, then stays; or does so again and again.

    Over the rate this is KL annealing: the decoder learns to use z before z has its full price. While the weight is
    below one, the sum is no bound on log p(x).

    Args:
        term: what is warmed up.
        epochs: how long the rise takes, at least 0.
        cycle: epochs after which the rise begins anew; 0 for never.

    Source: Bowman et al. 2016, Generating Sentences from a Continuous Space, arXiv:1511.06349; Sønderby et al. 2016,
    Ladder Variational Autoencoders, arXiv:1602.02282; Fu et al. 2019, Cyclical Annealing Schedule, arXiv:1903.10145.
    """

    def __init__(self, term: Term, epochs: float, cycle: float = 0.0) -> None:
        super().__init__()
        if epochs < 0:
            raise SettingError(f"a warm-up cannot take {epochs} epochs; give 0 for none")
        if cycle and cycle < epochs:
            raise SettingError(
                f"a warm-up of {counted(epochs, 'epoch')} does not fit a cycle of {cycle}; make the cycle longer"
            )
        self.term, self.epochs, self.cycle = term, epochs, cycle
        self.samples, self.gradient, self.couples = term.samples, term.gradient, term.couples
        self.reads_z = term.reads_z

    def forward(self, draw: Draw, model: Model, t: Tensor) -> Loss:
        loss: Loss = self.term(draw, model, t)
        if not self.epochs:
            return loss
        # validation looks at the end of time, when every rise is over
        place = torch.where(t.isinf(), t, t % self.cycle) if self.cycle else t
        weight = (place / self.epochs).clamp(max=1)
        return each(loss, lambda one: one * weight)

    def players(self, model: Model) -> Mapping[str, Iterable[nn.Parameter]]:
        """Those of the term."""
        return self.term.players(model)


def _terms(term: Term) -> list[Term]:
    return [part for part in term.terms if isinstance(part, Term)] if isinstance(term, Sum) else [term]
