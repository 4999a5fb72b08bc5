"""What the microbatches of a step know of each other.

A term that reads across the batch asks for what it needs of the others by `Draw.gather`. Another rank's is fetched. What
this process makes in another turn may not be there yet: then the question is noted, the next turn is looked at, and when
all have asked, everything is evaluated again with the answer, until nobody asks any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from torch import Tensor
from torch.nn.functional import pad

from unveil.errors import SettingError
from unveil.training.team import Team

Result = TypeVar("Result")


class Asked(BaseException):
    """What this turn adds to an answer that takes all of them. Not an error: nobody who catches those is to see it."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


class Microbatch:
    """One microbatch, as terms see the others from it: `unveil.data.Peers`.

    Args:
        team: the ranks.
        place: of its examples in the batch.
        size: of the batch.
        part: its number.
        parts: how many there are.
        answers: to what was asked so far, in order; None where this process has no other turn, and can be told at once.
    """

    def __init__(
        self, team: Team, place: slice, size: int, part: int, parts: int, answers: list[Tensor] | None = None
    ) -> None:
        self.team, self.place, self.size, self.part, self.parts = team, place, size, part, parts
        self.answers = answers
        self.asked = 0

    def gather(self, values: Tensor, dim: int) -> Tensor:
        return self._ask(values, dim, self.place.start, self.size - self.place.stop)

    def stack(self, values: Tensor) -> Tensor:
        return self._ask(values.unsqueeze(0), 0, self.part, self.parts - 1 - self.part)

    def _ask(self, values: Tensor, dim: int, before: int, after: int) -> Tensor:
        """`values` between zeros, summed over all: each number plus zeros is itself."""
        self.asked += 1
        placed = pad(values, [0, 0] * (values.dim() - 1 - dim % values.dim()) + [before, after])
        if self.answers is None:
            return self.team.total(placed)
        if self.asked > len(self.answers):
            raise Asked(placed)
        return self.answers[self.asked - 1]


def converse(team: Team, peers: Sequence[Microbatch], turns: Sequence[Callable[[], Result]], needed: int) -> list[Result]:
    """What `needed` of the `turns` of this process give, once what they ask about the whole batch is answered."""
    answers: list[Tensor] | None = [] if len(turns) > 1 else None
    while True:
        results: list[Result] = []
        questions: list[Tensor] = []
        for peer, turn in zip(peers, turns, strict=True):
            peer.answers, peer.asked = answers, 0
            try:
                results.append(turn())
            except Asked as asked:
                questions.append(asked.values)
            if len(results) == needed:
                return results
        if results or answers is None:
            raise SettingError("a term reads the whole batch for some of its examples alone; let it always do so")
        answers.append(team.total(added(questions)))


def added(values: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    total: Tensor = sum(values)  # type: ignore[assignment]
    return total
