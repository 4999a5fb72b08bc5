"""The state of a run between two steps: everything that the next step depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor, nn

from unveil.errors import RunError, SettingError
from unveil.training.average import Average
from unveil.training.flat import Flat
from unveil.training.guard import GuardedAdam
from unveil.training.tally import Tally
from unveil.training.team import ALONE, Team


class State:
    """Weights, their average, the best of those, buffers, the optimiser, the epoch's figures, and the step.

    Where training may go back, also what it was at the beginning of the epoch, which makes checkpoints larger.

    Args:
        module: what is trained.
        low: type in which matrix products read their weights; None for their own.
        clip: largest norm of the gradient.
        decay: of the average.
        tally: figures of the epoch under way.
        team: the ranks.
        shard: whether each of them has its slice alone of moments and averages, and of the weights where those are kept.

    Attributes:
        ceiling: nats above which the distortion and rate of a step have blown up.
    """

    def __init__(
        self,
        module: nn.Module,
        low: torch.dtype | None,
        clip: float,
        decay: float,
        tally: Tally,
        team: Team = ALONE,
        shard: bool = False,
    ) -> None:
        self.flat = Flat(module, low, team, shard)
        self.average = Average(self.flat, decay)
        self.optimiser = GuardedAdam(self.flat, clip)
        self.tally = tally
        frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
        self.buffers = {**dict(module.named_buffers()), **frozen}
        self.ceiling = torch.full((), inf, device=self.flat.values.device)
        self.step = 0
        self.best: dict[str, Tensor] = {}
        self.best_value: float | None = None
        self.best_step = 0
        self.start: dict[str, Tensor] = {}
        self.start_step = 0
        self.went_back: list[int] = []
        self.slower = 1.0
        self.events = 0

    def consider(self, value: float | None) -> None:
        """Keep the averaged weights if `value`, the validation loss, is the smallest finite one yet, or the first."""
        if value is not None and not isfinite(value):
            value = None  # nothing that can be compared
        if not self.best or (value is not None and (self.best_value is None or value < self.best_value)):
            self.best_value, self.best_step = value, self.step
            self.best = {"values": self.average.values.clone()}
            self.best |= {f"buffer.{name}": buffer.clone() for name, buffer in self.buffers.items()}

    def remember(self) -> None:
        """Keep what `go_back` returns to."""
        self.start = {name: tensor.clone() for name, tensor in _named(self._fixed()).items()}
        self.start_step = self.step

    @torch.no_grad()
    def go_back(self) -> None:
        """Be what it was when it was told to remember."""
        for name, tensor in _named(self._fixed()).items():
            tensor.copy_(self.start[name])
        self.flat.publish()
        self.step = self.start_step

    @torch.no_grad()
    def use_best(self) -> None:
        """Give the module the best weights, in memory of its own."""
        self.flat.own.copy_(self.best["values"])
        self.flat.cut.gather_(self.flat.values)
        for name, buffer in self.buffers.items():
            buffer.copy_(self.best[f"buffer.{name}"])
        self.flat.release()

    def share(self, team: Team) -> None:
        """Give every rank the state of rank 0; of one that is cut, what there is before the first step."""
        if team.size == 1:
            return
        if not self.flat.cut.whole:
            self._begin(team)
            return
        kinds = {name: (tuple(one.shape), str(one.dtype).removeprefix("torch.")) for name, one in self.tensors().items()}
        facts, kinds = team.tell([{**self.facts(), "step": self.step}, kinds])
        if team.rank == 0:
            team.share_(list(self.tensors().values()))
            return
        device = self.flat.values.device
        given = {
            name: torch.empty(shape, dtype=getattr(torch, kind), device=device) for name, (shape, kind) in kinds.items()
        }
        team.share_(list(given.values()))
        self.restore(given, facts)

    @torch.no_grad()
    def _begin(self, team: Team) -> None:
        """Begin all ranks with the weights of rank 0; those that resumed have the same already."""
        team.share_([self.flat.values, *self.buffers.values()])
        self.flat.publish()
        if self.step == 0:
            self.average.values.copy_(self.flat.own)

    def compare(self, team: Team) -> None:
        """See that every rank still has the same weights and buffers.

        Raises:
            SettingError: they came to differ.
        """
        if team.size == 1:
            return
        average = {"average": self.average.values} if self.flat.cut.whole else {}  # which no other rank has
        named = {"weights": self.flat.values, **average, **self.buffers}
        alike = team.alike(torch.stack([_bits(tensor) for tensor in named.values()]))
        differing = [name for name, same in zip(named, alike, strict=True) if not same]
        if differing:
            raise SettingError(
                f"the processes came to differ in {differing[0]}; a part that moves by a step reads draw.gather(...) in "
                "its update, and machines of one kind round alike: give those"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, live; of those that are cut the slice of this rank."""
        return _named({**self._fixed(), "best": self.best, "start": self.start})

    def _fixed(self) -> dict[str, dict[str, Tensor]]:
        weights = {"values": self.flat.own, "average": self.average.values}
        return {
            "weights": weights,
            "buffers": self.buffers,
            "optimiser": self.optimiser.tensors(),
            "tally": {"rows": self.tally.rows, "ceiling": self.ceiling},
        }

    def facts(self) -> dict[str, Any]:
        """Everything that is no tensor, as plain data."""
        return {
            "best_value": self.best_value,
            "best_step": self.best_step,
            "start_step": self.start_step,
            "went_back": list(self.went_back),
            "slower": self.slower,
            "events": self.events,
        }

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over a state that `tensors` and `facts` gave.

        Raises:
            RunError: it belongs to another model or optimiser.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        try:
            for group, named in self._fixed().items():
                for name, tensor in named.items():
                    tensor.copy_(groups[group][name])
            self.flat.publish()
            device = self.flat.values.device
            self.best, self.start = (
                {name: tensor.to(device) for name, tensor in groups.get(group, {}).items()} for group in ("best", "start")
            )
            self.went_back, self.slower = list(facts.get("went_back", ())), float(facts.get("slower", 1.0))
            self.start_step, self.events = int(facts.get("start_step", 0)), int(facts.get("events", 0))
            self.step, self.best_value, self.best_step = int(facts["step"]), facts["best_value"], facts["best_step"]
        except (KeyError, RuntimeError) as error:
            raise RunError(f"the checkpoint belongs to another model or optimiser: {str(error)[:100]}") from None


def _named(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of every group under one name."""
    return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}


def _bits(tensor: Tensor) -> Tensor:
    """A sum, int64 on the CPU, that other bits, or these in another order, will hardly have."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    bits = tensor.detach().contiguous().reshape(-1).view(whole).long()
    return (bits * (2 * torch.arange(len(bits), device=bits.device) + 1)).sum().cpu()
