"""Rows of several requests in one pass of the model, each request with its own randomness.

A request's answer is a function of its own rows and seed. Alone, its noise is drawn by torch's default generator, seeded
for its purpose. In a pass with others, every random operation of the pass is drawn anew for each request from a generator
of its own, seeded alike, and put where that request's rows are: the very numbers that it would have had alone. What is left
of the company is the rounding of larger matrix products.

Which entries of a random tensor belong to which row is no guess: two passes by themselves, of 2 rows and of 3, say by what
grows with the rows, and a third pass of both must give the answers of the two. A model for which that does not hold, one
that draws until something is accepted, say, is asked for one request after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unveil.distributions import drawn_from
from unveil.randomness import key, overheard

FILLS = {
    "rand": "uniform_",
    "rand_like": "uniform_",
    "randn": "normal_",
    "randn_like": "normal_",
    "randint": "random_",
}
"""Operations that make a tensor of noise, and what fills one."""
INTO = frozenset({"uniform_", "normal_", "exponential_", "bernoulli_", "random_", "cauchy_", "geometric_", "log_normal_"})
"""Operations that fill a tensor with noise."""
OF = frozenset({"normal", "bernoulli", "multinomial", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet"})
"""Operations that draw from distributions whose parameters are tensors."""
MIXED = drawn_from.__name__
"""What draws from components that were chosen: how often from each of them hangs on all rows."""
LIKE = {"rtol": 1e-5, "atol": 1e-5}
"""How near the answers of a joint pass must be to those of passes alone."""
ODD = 1e-3
"""Share of the entries that may not be: a uniform number within rounding of a probability may fall to either side."""

Found: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Piece:
    """The rows of one request.

    Attributes:
        count: rows.
        seed: of their randomness.
        given: by name, (count, ...); None where a request does not say it. Those that are joined say the same.
    """

    count: int
    seed: int
    given: Mapping[str, Tensor | None]


Work: TypeAlias = Callable[[Piece], Found]
"""What is done with the rows of a piece: tensors (count, ...) by name, with randomness reseeded by (seed, purpose, ...)."""


@dataclass(frozen=True)
class Place:
    """Where rows are in a random tensor: along `dim`, in `outer` * rows * `inner` entries."""

    name: str
    dim: int
    outer: int
    inner: int


class NotJoinable(Exception):
    """Which entries of a random tensor are whose cannot be told."""


class _Listening(TorchFunctionMode):
    """Within, notes every random operation and the shape of what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, tuple[int, ...]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if (name := _random(func, kwargs)) is not None:
            self.heard.append((name, tuple(found.shape)))
        return found


class _Apart(TorchFunctionMode):
    """Within, every random operation is drawn for each piece by itself."""

    def __init__(self, plan: Sequence[Place], pieces: Sequence[Piece]) -> None:
        super().__init__()
        self.plan, self.pieces, self.done = plan, pieces, 0
        self.generators = [torch.Generator() for _ in pieces]

    def reseeded(self, seed: int | str, *purpose: int | str) -> None:
        """The model reseeds: so does everyone, by a seed of their own and for the same purpose."""
        for generator, piece in zip(self.generators, self.pieces, strict=True):
            generator.manual_seed(key(piece.seed, *purpose))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        if (name := _random(func, kwargs)) is None:
            return found
        place, counts = self._place(name, found), [piece.count for piece in self.pieces]
        rows, start = sum(counts), 0
        for count, generator in zip(counts, self.generators, strict=True):
            if (name in FILLS or name in INTO) and place.dim == 0 and place.outer == place.inner == 1:
                _fill(func, name, args, kwargs, found[start : start + count], generator)  # these lie in one piece
            else:
                slot = found.unflatten(place.dim, (place.outer, rows, place.inner)).narrow(place.dim + 1, start, count)
                alone = slot.flatten(place.dim, place.dim + 2).contiguous()
                drawn = _drawn(func, name, args, kwargs, alone, generator, place, rows, start)
                if drawn.shape != alone.shape:
                    raise NotJoinable
                slot.copy_(drawn.unflatten(place.dim, slot.shape[place.dim : place.dim + 3]))
            start += count
        return found

    def _place(self, name: str, found: Tensor) -> Place:
        """Where rows are in what the next operation gave."""
        if self.done >= len(self.plan):
            raise NotJoinable
        place, rows = self.plan[self.done], sum(piece.count for piece in self.pieces)
        self.done += 1
        fits = name == place.name and place.dim < found.dim()
        if not fits or found.shape[place.dim] != place.outer * rows * place.inner:
            raise NotJoinable
        return place


def _random(func: Any, kwargs: Mapping[str, Any] | None) -> str | None:
    """The name of an operation that draws from the default generator; None for others."""
    name = getattr(func, "__name__", "")
    drawn = name in FILLS or name in INTO or name in OF or name == MIXED
    return name if drawn and (kwargs or {}).get("generator") is None else None


def _fill(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], alone: Tensor, generator: torch.Generator
) -> Tensor:
    """A tensor of noise, filled anew as an operation of `FILLS` or `INTO` fills one."""
    if name in INTO:
        func(alone, *args[1:], **kwargs, generator=generator)
        return alone
    bounds = [one for one in args if isinstance(one, int)] if name == "randint" else []
    getattr(alone, FILLS[name])(*[0, *bounds][-2:] if bounds else (), generator=generator)
    return alone


def _drawn(
    func: Any,
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    alone: Tensor,
    generator: torch.Generator,
    place: Place,
    rows: int,
    start: int,
) -> Tensor:
    """What an operation would have given for the rows from `start` on alone, a tensor like `alone`."""
    if name in FILLS or name in INTO:
        return _fill(func, name, args, kwargs, alone, generator)
    count = alone.shape[place.dim] // (place.outer * place.inner)
    if name == "multinomial" and place.dim == alone.dim() - 1 and len(args) > 1:  # draws for rows that share the weights
        several: Tensor = func(args[0], alone.shape[-1], *args[2:], **kwargs, generator=generator)
        return several

    def part(one: Any) -> Any:
        if not isinstance(one, Tensor) or one.dim() <= place.dim:
            return one
        if one.shape[place.dim] != place.outer * rows * place.inner:
            raise NotJoinable  # parameters that the rows share
        spread = one.unflatten(place.dim, (place.outer, rows, place.inner))
        return spread.narrow(place.dim + 1, start, count).flatten(place.dim, place.dim + 2)

    if name == MIXED:
        components, chosen = args
        if place.dim > 0:
            raise NotJoinable  # each row has components of its own
        with _as_default(generator):
            return drawn_from(components, part(chosen))
    drawn: Tensor = func(*map(part, args), **{name: part(one) for name, one in kwargs.items()}, generator=generator)
    return drawn


@contextmanager
def _as_default(generator: torch.Generator) -> Iterator[None]:
    """Within, what draws from the default generator draws from this one."""
    torch.default_generator.set_state(generator.get_state())
    yield
    generator.set_state(torch.default_generator.get_state())


class Together:
    """Work on pieces, joined where that gives the answers of pieces alone.

    Args:
        work: what is done.
        draws: how many values each row has in a random tensor whose entries are K draws of every row, draws first.
    """

    def __init__(self, work: Work, draws: int = 1) -> None:
        self.work, self.draws = work, draws
        self._plans: dict[frozenset[str], Sequence[Place] | None] = {}

    def __call__(self, pieces: Sequence[Piece]) -> list[Found]:
        """The answer of each, in one pass if that can be."""
        if len(pieces) == 1:
            return [self.work(pieces[0])]
        try:
            return self._joined(self._plan(pieces[0]), pieces)
        except NotJoinable:
            return [self.work(piece) for piece in pieces]

    def joins(self, piece: Piece) -> bool:
        """Whether pieces like this one are computed in one pass."""
        return self._planned(piece) is not None

    def _plan(self, piece: Piece) -> Sequence[Place]:
        plan = self._planned(piece)
        if plan is None:
            raise NotJoinable
        return plan

    def _planned(self, piece: Piece) -> Sequence[Place] | None:
        """Where rows are in the random tensors of a pass; None where pieces like this one cannot be joined."""
        known = frozenset(name for name, tensor in piece.given.items() if tensor is not None)
        if known not in self._plans:
            try:
                self._plans[known] = self._found_out(_resized(piece, 2, seed=0), _resized(piece, 3, seed=1))
            except NotJoinable:
                self._plans[known] = None
        return self._plans[known]

    def _found_out(self, *trials: Piece) -> Sequence[Place]:
        heard, alone = [], []
        for trial in trials:
            with _Listening() as listening:
                alone.append(self.work(trial))
            heard.append(listening.heard)
        plan = _compared(heard, [trial.count for trial in trials], self.draws)
        for one, other in zip(alone, self._joined(plan, trials), strict=True):
            if not all(_alike(one[name], other[name]) for name in one):
                raise NotJoinable
        return plan

    def _joined(self, plan: Sequence[Place], pieces: Sequence[Piece]) -> list[Found]:
        counts = [piece.count for piece in pieces]
        given = {name: _stacked([piece.given[name] for piece in pieces]) for name in pieces[0].given}
        apart = _Apart(plan, pieces)
        with apart, overheard(apart.reseeded):
            found = self.work(Piece(sum(counts), 0, given))
        if apart.done != len(plan):
            raise NotJoinable
        parts = {name: tensor.split(counts) for name, tensor in found.items()}
        return [{name: parts[name][place] for name in parts} for place in range(len(pieces))]


def _compared(heard: Sequence[list[tuple[str, tuple[int, ...]]]], counts: Sequence[int], draws: int) -> list[Place]:
    """Where rows are, from what two passes of different numbers of rows have drawn."""
    one, other = heard
    if [(name, len(shape)) for name, shape in one] != [(name, len(shape)) for name, shape in other]:
        raise NotJoinable
    places = []
    for (name, less), (_, more) in zip(one, other, strict=True):
        grown = [dim for dim, (few, many) in enumerate(zip(less, more, strict=True)) if few != many]
        if len(grown) != 1 or less[grown[0]] * counts[1] != more[grown[0]] * counts[0]:
            raise NotJoinable
        fold = less[grown[0]] // counts[0]
        outer = draws if fold % draws == 0 else 1
        places.append(Place(name, grown[0], outer, fold // outer))
    return places


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are the same but for rounding."""
    near = torch.isclose(one.double(), other.double(), equal_nan=True, **LIKE)
    return one.shape == other.shape and float((~near).double().mean()) <= ODD


def _resized(piece: Piece, count: int, seed: int) -> Piece:
    """A piece of `count` rows like those of another."""
    which = torch.arange(count) % piece.count
    return Piece(count, seed, {name: None if rows is None else rows[which] for name, rows in piece.given.items()})


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.cat([part for part in parts if part is not None])
