"""Several processes that train one model: what they sum up and tell one another, and how they end together.

Each of `size` processes, its number the *rank*, holds all weights and makes its part of each step; what the parts come to
is summed over all of them, so that every rank takes the same step. Rank 0 alone writes and speaks. A process without
others is alone, and everything here is then nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unveil.errors import RankError, SettingError, UnveilError
from unveil.training.heartbeat import Heartbeat

POLL = 0.02
"""Seconds between two looks at the store."""
SILENCE = 60.0
"""Seconds without a heartbeat after which a rank that others wait for is given up: it was killed, or stopped."""
GOING = 2.0
"""Seconds that a rank with nothing to say gives those who have, before it ends: its end may be theirs."""


class Team:
    """The ranks of a training, as one of them sees it.

    Args:
        store: what they found each other by; None for a process that is alone.
        rank: which one this is.
        size: how many there are.
        timeout: seconds after which a rank that does not answer is given up.
    """

    def __init__(self, store: Any = None, rank: int = 0, size: int = 1, timeout: float = 600.0) -> None:
        self.store, self.rank, self.size, self.timeout = store, rank, size, timeout
        self._said = 0
        self.heart = None if store is None else Heartbeat(store.clone(), rank, size)

    # sums over all ranks

    def sum_(self, values: Tensor) -> Tensor:
        """`values` summed over all ranks, in place; the same bits on each."""
        if self.heart is not None:
            with self.meeting():
                dist.all_reduce(values)
        return values

    def total(self, values: Tensor) -> Tensor:
        """`values` summed over all ranks, with gradient: that of the sum of what all ranks make of it."""
        if self.heart is None:
            return values
        summed: Tensor = _Total.apply(values, self)
        return summed

    @torch.no_grad()
    def share_(self, tensors: Sequence[Tensor]) -> None:
        """Give all ranks what `tensors` are on rank 0, in place."""
        if self.heart is not None:
            with self.meeting():
                for tensor in tensors:
                    raw = tensor.detach().clone().reshape(-1).view(torch.uint8)  # of any type
                    dist.broadcast(raw, 0)
                    tensor.copy_(raw.view(tensor.dtype).view(tensor.shape))

    def alike(self, numbers: Tensor) -> list[bool]:
        """Whether each of `numbers` (n,) int64 is the same on all ranks."""
        if self.heart is None:
            return [True] * len(numbers)
        both = torch.cat([numbers, -numbers])
        with self.meeting():
            dist.all_reduce(both, dist.ReduceOp.MAX)
        largest, smallest = both.chunk(2)
        return (largest == -smallest).tolist()

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """An exchange, which fails with a name where somebody does not come."""
        assert self.heart is not None
        self.heart.met += 1
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "onnection" not in str(error) and "imed out" not in str(error):
                raise
            raise self._missing() from None

    def _missing(self) -> RankError:
        assert self.heart is not None
        with _whatever():
            if (told := self._told()) is not None:
                return told
        names = self.heart.missing(self.store)
        who = " and ".join(names) or "the connection between the ranks"
        return RankError(f"{who} ended or does not answer; start anew with --resume to go on from the last checkpoint")

    # words, by the store

    def tell(self, content: Any = None) -> Any:
        """What rank 0 says, as plain data, on every rank; the others' `content` is not looked at."""
        if self.heart is None:
            return content
        self._said += 1
        if self.rank == 0:
            self.store.set(f"said/{self._said}", json.dumps(content))
            return content
        return json.loads(self._wait_for(f"said/{self._said}", 0))

    def agree(self, facts: Mapping[str, str]) -> None:
        """See that every rank has the same `facts`, names and what they are.

        Raises:
            SettingError: one has others than rank 0; which, and in what.
        """
        if self.heart is None:
            return
        self._said += 1
        self.store.set(f"facts/{self._said}/{self.rank}", json.dumps(dict(facts)))
        everybody = [json.loads(self._wait_for(f"facts/{self._said}/{rank}", rank)) for rank in range(self.size)]
        for rank, theirs in enumerate(everybody):
            for name, value in everybody[0].items():
                if theirs.get(name) != value:
                    raise SettingError(
                        f"rank {rank} has {name} {theirs.get(name)}, and rank 0 has {value}; give every rank the same"
                    )

    def _wait_for(self, key: str, rank: int) -> bytes:
        """What stands under `key`, which `rank` is to write; fails when any rank has."""
        assert self.heart is not None
        self.heart.met += 1
        heard = time.monotonic()
        end, beat = heard + self.timeout, b""
        try:
            while not self.store.check([key]):
                if (told := self._told()) is not None:
                    raise told
                if (now := self.store.get(f"beat/{rank}")) != beat:
                    beat, heard = now, time.monotonic()
                if time.monotonic() > min(end, heard + SILENCE):
                    raise self._missing()
                time.sleep(POLL)
            found: bytes = self.store.get(key)
            return found
        except dist.DistError:
            raise self._missing() from None

    def _told(self) -> RankError | None:
        """What another rank has told of an error of its own."""
        for other in range(self.size):
            if other != self.rank and self.store.check([f"error/{other}"]):
                return RankError(f"rank {other} ended: {self.store.get(f'error/{other}').decode()}")
        return None

    # the end

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Within, an error of this rank is told to the others, which then wait for it no longer."""
        try:
            yield
        except RankError:
            raise
        except Exception as error:
            if self.heart is not None:
                with _whatever():
                    self.store.set(f"error/{self.rank}", str(error) if isinstance(error, UnveilError) else repr(error))
                _part()
            raise

    def speaks(self) -> bool:
        """Whether an error of this rank is its to say: that of the lowest rank which has one."""
        if self.heart is None or self.rank == 0:
            return self.rank == 0
        with _whatever():
            end = time.monotonic() + GOING * (1 + min(self.rank, 8) / 4)  # the lower first
            while time.monotonic() < end:
                if any(self.store.check([f"spoke/{other}"]) for other in range(self.rank)):
                    return False
                time.sleep(POLL)
        return True

    def spoke(self) -> None:
        """Let the higher ranks know that what there was to say is said."""
        if self.heart is not None:
            with _whatever():
                self.store.set(f"spoke/{self.rank}", "")

    def leave(self) -> None:
        """Part from the others."""
        if self.heart is not None:
            self.heart.end()
            self.heart = None
            _part()


class _Total(torch.autograd.Function):
    """A sum over ranks, whose gradient is the sum over ranks of its gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return team.sum_(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        team: Team = ctx.team
        return team.sum_(gradients[0].contiguous().clone()), None


def _part() -> None:
    """Cut the connections, upon which the others find that nobody comes."""
    with _whatever():
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def _whatever() -> Iterator[None]:
    """Within, nothing is done about a connection that is gone: at the end nobody needs it."""
    try:
        yield
    except RuntimeError:
        return


ALONE = Team()
"""A process of its own."""
