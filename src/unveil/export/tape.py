"""A noise tape: what code draws at random, as an input.

A model draws wherever it likes: in priors, posteriors and likelihoods, by torch's functions. A first run under `Recorder`
writes down which draws it makes; under `Player` the same code takes them from tensors of standard normals and of uniforms,
so that x is a function of noise, which can be traced, exported, and computed anywhere. No model knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.overrides import TorchFunctionMode

from unveil.distributions import drawn_from
from unveil.errors import ExportError

Kind = Literal["normal", "uniform"]
Shape = tuple[int, ...]
KINDS: tuple[Kind, ...] = ("normal", "uniform")


@dataclass(frozen=True)
class Take:
    """A draw of the tape, for n rows: numbers of shape (*before, n * each, *after).

    Attributes:
        kind: 'normal' for standard normals, 'uniform' for uniforms in [0, 1).
        start: its first column among those of its kind.
        before: the sizes before the dimension that grows with n.
        each: of that dimension, for each row.
        after: the sizes after it.
    """

    kind: Kind
    start: int
    before: Shape
    each: int
    after: Shape

    @property
    def columns(self) -> int:
        """Numbers for each row."""
        return prod((*self.before, self.each, *self.after))

    def cut(self, noise: Tensor) -> Tensor:
        """The numbers of this draw, of `noise` (n, columns of this kind)."""
        block = noise[:, self.start : self.start + self.columns]
        block = block.reshape(-1, *self.before, self.each, *self.after).movedim(0, len(self.before))
        return block.reshape(*self.before, -1, *self.after)


class Source(Protocol):
    """Where numbers come from."""

    def noise(self, kind: Kind, shape: Shape) -> Tensor:
        """Float32 standard normals or uniforms of this shape."""
        ...


class Recorder:
    """Draws, and writes down what: a kind and a shape for each draw."""

    def __init__(self) -> None:
        self.drawn: list[tuple[Kind, Shape]] = []

    def noise(self, kind: Kind, shape: Shape) -> Tensor:
        self.drawn.append((kind, shape))
        return torch.randn(shape) if kind == "normal" else torch.rand(shape)


class Player:
    """Gives out what is on tensors, in the order in which it was recorded.

    Args:
        takes: what was recorded.
        noise: (n, columns) of each kind that is drawn.
    """

    def __init__(self, takes: Sequence[Take], noise: Mapping[Kind, Tensor]) -> None:
        self.takes, self.tensors = iter(takes), noise

    def noise(self, kind: Kind, shape: Shape) -> Tensor:
        take = next(self.takes, None)
        if take is None or take.kind != kind or len(shape) != len(take.before) + 1 + len(take.after):
            raise ExportError("its draws are others each time")
        return take.cut(self.tensors[kind])


def plan(first: Recorder, second: Recorder, sizes: tuple[int, int]) -> tuple[Take, ...]:
    """What is drawn for each row, where the two recorded what was drawn for n = `sizes` rows.

    Raises:
        ExportError: draws that are not so many for each row.
    """
    takes: list[Take] = []
    columns = dict.fromkeys(KINDS, 0)
    if len(first.drawn) != len(second.drawn):
        raise ExportError("it draws until it is content, not a fixed number of times")
    for (kind, one), (other, two) in zip(first.drawn, second.drawn, strict=True):
        apart = [place for place, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]]
        if kind != other or len(one) != len(two) or len(apart) != 1:
            raise ExportError(f"it draws {one} numbers for {sizes[0]} rows and {two} for {sizes[1]}, not so many a row")
        (place,) = apart
        each = one[place] // sizes[0]
        if (one[place], two[place]) != (each * sizes[0], each * sizes[1]):
            raise ExportError(f"it draws {one} numbers for {sizes[0]} rows and {two} for {sizes[1]}, not so many a row")
        takes.append(Take(kind, columns[kind], one[:place], each, one[place + 1 :]))
        columns[kind] += takes[-1].columns
    return tuple(takes)


class Tape(TorchFunctionMode):
    """Within, whatever is drawn at random comes from `source`.

    Args:
        source: a `Recorder` or a `Player`.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self._shared: Shape | None = None

    def noise(self, kind: Kind, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        """The next draw, as `dtype`."""
        if self._shared is None:
            drawn = self.source.noise(kind, tuple(shape))
        else:
            lead = self._shared
            if tuple(shape[: len(lead)]) != lead:
                raise ExportError("the components of its mixture draw in an order of their own")
            drawn = self.source.noise(kind, (*lead[:-1], *shape[len(lead) :])).unsqueeze(len(lead) - 1).expand(*shape)
        return drawn if dtype is None else drawn.to(dtype)

    @contextmanager
    def shared(self, lead: Shape) -> Any:
        """Within, draws of shape (*lead, ...) are the same along the last dimension of `lead`."""
        self._shared = lead
        try:
            with self:
                yield
        finally:
            self._shared = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in REFUSED:
            raise ExportError(REFUSED[func])
        if func not in DRAWS or given.pop("generator", None) is not None:  # with one of its own it is no noise
            return func(*args, **(kwargs or {}))
        return DRAWS[func](self, *args, **given)


LAWS = {
    torch._standard_gamma: "rejection from a Gamma law",
    torch._sample_dirichlet: "rejection from a Dirichlet law",
    torch.poisson: "rejection from a Poisson law",
    torch.binomial: "rejection from a binomial law",
    torch.randperm: "a permutation",
    torch.Tensor.random_: "random bits",
    torch.Tensor.geometric_: "a geometric law",
    torch.Tensor.cauchy_: "a Cauchy law",
    torch.Tensor.log_normal_: "a log-normal law",
}
REFUSED: dict[Any, str] = {
    torch.autograd.grad: "it follows a gradient while it draws",
    **{draw: f"it draws by {law}, which no fixed number of uniforms or normals replaces" for draw, law in LAWS.items()},
}
"""What is done in steps whose number depends on chance, or by what graphs have not, and why that ends an export."""


def _sizes(given: Sequence[Any]) -> Shape:
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], Sequence) else tuple(given)


def _factory(kind: Kind) -> Callable[..., Tensor]:
    def draw(tape: Tape, *size: Any, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return tape.noise(kind, _sizes(size or (rest["size"],)), dtype)

    return draw


def _like(kind: Kind) -> Callable[..., Tensor]:
    def draw(tape: Tape, like: Tensor, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
        return tape.noise(kind, like.shape, dtype or like.dtype)

    return draw


def _normal(tape: Tape, mean: Any, std: Any = 1.0, size: Sequence[int] | None = None, **rest: Any) -> Tensor:
    if size is None:
        size = torch.broadcast_shapes(*(part.shape for part in (mean, std) if isinstance(part, Tensor)))
    kinds = [part.dtype for part in (mean, std) if isinstance(part, Tensor)]
    return mean + std * tape.noise("normal", size, kinds[0] if kinds else rest.get("dtype"))


def _normal_(tape: Tape, place: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return place.copy_(mean + std * tape.noise("normal", place.shape, place.dtype))


def _uniform_(tape: Tape, place: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return place.copy_(low + (high - low) * tape.noise("uniform", place.shape, place.dtype))


def _exponential_(tape: Tape, place: Tensor, rate: float = 1.0) -> Tensor:
    # 1 - u is exact, and never 0
    return place.copy_((1 - tape.noise("uniform", place.shape, place.dtype)).log() / -rate)


def _bernoulli(tape: Tape, chance: Tensor) -> Tensor:
    return (tape.noise("uniform", chance.shape, chance.dtype) < chance).to(chance.dtype)


def _randint(tape: Tape, *given: Any, size: Sequence[int] | None = None, **rest: Any) -> Tensor:
    *bounds, size = (*given, size) if size is not None else given
    assert size is not None
    low, high = (0, *bounds) if len(bounds) == 1 else bounds
    place = (tape.noise("uniform", size) * (high - low)).floor()
    return low + place.to(rest.get("dtype") or torch.int64).clamp(max=high - low - 1)


def _multinomial(tape: Tape, weights: Tensor, count: int, replacement: bool = False) -> Tensor:
    """By the inverse of the distribution function."""
    if not replacement and count != 1:
        raise ExportError("it draws several without putting them back")
    mass = weights.cumsum(-1)
    uniform = tape.noise("uniform", (*weights.shape[:-1], count), weights.dtype)
    above = mass.unsqueeze(-2) <= (uniform * mass[..., -1:]).unsqueeze(-1)
    return above.sum(-1).clamp(max=weights.shape[-1] - 1)


def _from_components(tape: Tape, components: Distribution, chosen: Tensor) -> Tensor:
    """Every component makes its own of the same noise, of which the chosen one is taken: no draw is used twice for it."""
    lead = (chosen.shape[0], *components.batch_shape)
    with tape.shared(lead):
        drawn = components.sample(torch.Size(lead[:1]))
    return taken(drawn.reshape(*chosen.shape, lead[-1], *components.event_shape), chosen)


def taken(values: Tensor, chosen: Tensor) -> Tensor:
    """(*lead, *event) of `values` (*lead, C, *event) those at the places `chosen` (*lead)."""
    lead, event = chosen.dim(), values.shape[chosen.dim() + 1 :]
    index = chosen.reshape(*chosen.shape, 1, *[1] * len(event)).expand(*chosen.shape, 1, *event)
    return values.gather(lead, index).squeeze(lead)


DRAWS: dict[Any, Callable[..., Tensor]] = {
    torch.randn: _factory("normal"),
    torch.rand: _factory("uniform"),
    torch.randn_like: _like("normal"),
    torch.rand_like: _like("uniform"),
    torch.normal: _normal,
    torch.Tensor.normal_: _normal_,
    torch.Tensor.uniform_: _uniform_,
    torch.Tensor.exponential_: _exponential_,
    torch.bernoulli: _bernoulli,
    torch.Tensor.bernoulli: _bernoulli,
    torch.randint: _randint,
    torch.multinomial: _multinomial,
    torch.Tensor.multinomial: _multinomial,
    drawn_from: _from_components,
}
"""How each way of drawing is made of normals or uniforms."""
