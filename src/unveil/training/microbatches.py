"""A step made in parts: its batch is cut into *microbatches*, ranks times turns of each, and these make one step.

The loss is the mean over the whole batch, so each microbatch's mean counts by its share of the examples, and gradients add
up: in `Flat` over the turns of one process, then over ranks, in one message with the figures and the wish to stop. The
noise of a microbatch is a function of (seed, step, microbatch), so it does not matter who makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unveil.data import Batch, Feed
from unveil.errors import SettingError
from unveil.models import Draw
from unveil.part import Part
from unveil.randomness import reseed
from unveil.training.compiled import Run, Scalars
from unveil.training.flat import Flat
from unveil.training.peers import Asked, Microbatch, added, converse
from unveil.training.step import FIGURES, Step
from unveil.training.stop import WISHES
from unveil.training.team import Team
from unveil.words import counted

RARELY = 10
"""Steps after which a GPU is asked whether somebody wants to stop: each time it must have finished what it was given."""


@dataclass(frozen=True)
class Taken:
    """What a step came to.

    Attributes:
        loss: that of all players together, a scalar.
        figures: means over the whole batch.
        draws: of the microbatches of this process.
        wish: the signal by which some rank wants to stop; None where none does.
        late: whether by the clock of rank 0 a checkpoint is due.
    """

    loss: Tensor
    figures: Scalars
    draws: Sequence[Draw]
    wish: str | None = None
    late: bool = False


class Microbatches:
    """Makes the gradients of a step.

    Args:
        step: what is trained.
        feed: what with.
        flat: where the gradients go.
        team: the ranks.
        turns: microbatches of each of them.
        seed: of the noise.
        low: gives the context in which a forward pass runs.
        run: makes losses and figures of a whole batch; None for the step as it is.

    Raises:
        SettingError: a batch with fewer examples than microbatches.
    """

    def __init__(
        self,
        step: Step,
        feed: Feed,
        flat: Flat,
        team: Team,
        turns: int,
        seed: int,
        low: Callable[[], AbstractContextManager[Any]],
        run: Run | None = None,
    ) -> None:
        self.step, self.feed, self.flat, self.team, self.seed, self.low = step, feed, flat, team, seed, low
        self.run = run or step
        self.drifting = step.drifting()
        self.parts = team.size * turns
        self.mine = range(team.rank * turns, (team.rank + 1) * turns)
        feed.mine = slice(feed.part(self.mine[0], self.parts).start, feed.part(self.mine[-1], self.parts).stop)
        if feed.batch_size < self.parts:
            raise SettingError(
                f"a batch of {feed.batch_size} cannot be cut into {counted(self.parts, 'microbatch', 'microbatches')}, "
                f"{counted(team.size, 'process', 'processes')} times "
                f"{turns}; give a larger batch, or fewer of those"
            )

    def take(
        self, number: int, t: Tensor, backward: Callable[[Scalars], None], wanted: str | None, late: bool = False
    ) -> Taken:
        """Make the gradients of step `number`, for the whole batch and of all ranks, and leave them with `flat`.

        Args:
            number: of the step.
            t: time in epochs.
            backward: gives each weight the gradient of its player's loss.
            wanted: the signal by which this rank wants to stop.
            late: whether by its clock a checkpoint is due; that of rank 0 counts.
        """
        if self.parts == 1:
            self.reseed(number, 0)
            return self.whole(self.feed.batch(number), t, backward)
        before, drifted = self._buffers(), [torch.zeros_like(buffer, dtype=torch.float64) for buffer in self.drifting]
        make = self._together if self.step.objective.couples and len(self.mine) > 1 else self._one_by_one
        said: list[Tensor] = []
        draws: list[Draw] = []
        for losses, figures, made in make(number, t, before, drifted):
            backward(losses)
            self.flat.hold()
            said.append(torch.stack([added(losses.values()).detach(), *(figures[name] for name in FIGURES)]))
            draws += made
        for buffer, mean in zip(self.drifting, drifted, strict=True):  # each microbatch moved it from where it was before
            mean = self.team.sum_(mean)
            buffer.copy_(mean if buffer.is_floating_point() else mean.round())
        loss, *means, wish, late = self._exchange(added(said), number, wanted, late)
        return Taken(loss, dict(zip(FIGURES, means, strict=True)), draws, wish, late)

    def whole(self, batch: Batch, t: Tensor, backward: Callable[[Scalars], None]) -> Taken:
        """Likewise for a step that is made of one batch, whose noise is that of the generators as they are."""
        with self.low():
            losses, figures, draw = self.run(batch, t)
        backward(losses)
        return Taken(added(losses.values()), figures, [] if draw is None else [draw])

    def _exchange(self, said: Tensor, number: int, wanted: str | None, late: bool) -> tuple[Any, ...]:
        """Loss and figures, summed over ranks as the gradients are, who wants to stop, and whether rank 0 wants to save."""
        if self.team.size == 1:
            return *said, None, late
        wishes = torch.tensor([*(float(wish.name == wanted) for wish in WISHES), float(late and self.team.rank == 0)])
        said = torch.cat([said, wishes.to(said)])
        tail = self.flat.message[len(self.flat.grads) :]
        tail[: len(said)] = said
        self.flat.cut.sum_(self.flat.message)
        *means, first, second, saving = tail[: len(said)].clone()
        if tail.device.type == "cpu" or number % RARELY == 0:
            wish = next((w.name for w, count in zip(WISHES, (first, second), strict=True) if count > 0), None)
            return *means, wish, bool(saving > 0)
        return *means, None, False

    def move(self, parts: Sequence[Part], draws: Sequence[Draw], number: int) -> None:
        """Have every one of `parts` take in the step, once, with what it asks about the whole batch."""
        for part in parts:
            if self.parts == 1:
                part.update(draws[0])
                continue

            def update(draw: Draw, part: Part = part) -> None:
                reseed(self.seed, "update", number, device=self.feed.device)
                part.update(draw)

            converse(self.team, [_peers(draw) for draw in draws], [partial(update, draw) for draw in draws], 1)

    def reseed(self, number: int, part: int) -> None:
        """Let the noise be that of microbatch `part` of step `number`."""
        reseed(self.seed, "step", number, part, device=self.feed.device)

    def _batch(self, number: int, part: int) -> Batch:
        place = self.feed.part(part, self.parts)
        alone = len(self.mine) == 1
        peers = Microbatch(self.team, place, self.feed.batch_size, part, self.parts, None if alone else [])
        return self.feed.batch(number, place, peers)

    def _one_by_one(
        self, number: int, t: Tensor, before: list[Tensor], drifted: list[Tensor]
    ) -> Iterator[tuple[Scalars, Scalars, list[Draw]]]:
        """Each microbatch of this process by itself: losses and figures by its share of the batch."""
        for part in self.mine:
            self._reset(before)
            self.reseed(number, part)
            batch = self._batch(number, part)
            try:
                with self.low():
                    losses, figures, draw = self.step(batch, t)
            except Asked:
                raise SettingError("a term reads the whole batch and does not say so; set couples = True in it") from None
            self._check(draw)
            self._drift(drifted)
            yield self._share(losses, part), self._share(figures, part), [draw]

    def _together(
        self, number: int, t: Tensor, before: list[Tensor], drifted: list[Tensor]
    ) -> Iterator[tuple[Scalars, Scalars, list[Draw]]]:
        """All microbatches of this process at once, since their terms read one another's examples."""
        draws, states = [], []
        for part in self.mine:
            self._reset(before)
            self.reseed(number, part)
            with self.low():
                draws.append(self.step.draw(self._batch(number, part)))
            states.append((self._random(), self._buffers()))

        def weigh(place: int) -> tuple[Scalars, Scalars, list[Tensor]]:
            random, buffers = states[place]
            self._random(random)
            self._reset(buffers)
            with self.low():
                return *self.step.weigh(draws[place], t), self._buffers()

        peers = [_peers(draw) for draw in draws]
        weighed = converse(self.team, peers, [partial(weigh, place) for place in range(len(draws))], len(draws))
        self._check(draws[0])
        for _, _, buffers in weighed:
            self._reset(buffers)
            self._drift(drifted)
        shared = [
            (self._share(losses, part), self._share(figures, part))
            for part, (losses, figures, _) in zip(self.mine, weighed, strict=True)
        ]
        losses, figures = (
            {name: added(one[name] for one in some) for name in some[0]} for some in zip(*shared, strict=True)
        )
        yield losses, figures, draws

    def _check(self, draw: Draw) -> None:
        if self.step.objective.couples and not _peers(draw).asked:
            raise SettingError(
                "the objective reads across the batch and sees a part of it here; in your own term read the others by "
                "draw.gather(...), or train in one process with accumulate 1"
            )

    def _share(self, means: Scalars, part: int) -> Scalars:
        """Means over a microbatch as what they add to the mean over the batch."""
        place = self.feed.part(part, self.parts)
        share = (place.stop - place.start) / self.feed.batch_size
        return {name: mean * share for name, mean in means.items()}

    # what a forward pass moves

    def _buffers(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.drifting]

    def _reset(self, buffers: list[Tensor]) -> None:
        for buffer, value in zip(self.drifting, buffers, strict=True):
            buffer.data.copy_(value)  # behind autograd's back: no gradient depends on it

    def _drift(self, drifted: list[Tensor]) -> None:
        for total, buffer in zip(drifted, self.drifting, strict=True):
            total.add_(buffer.double() / self.parts)

    def _random(self, state: list[Tensor] | None = None) -> list[Tensor]:
        """The state of the default generators; set to `state`, where that is given."""
        device = self.feed.device
        if state is not None:
            torch.set_rng_state(state[0])
            if len(state) > 1:
                torch.cuda.set_rng_state(state[1], device)
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _peers(draw: Draw) -> Microbatch:
    assert isinstance(draw.batch.peers, Microbatch)
    return draw.batch.peers
