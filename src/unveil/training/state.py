"""The state of a run between two steps: everything that the next step depends on, and nothing else."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unveil.errors import RunError
from unveil.training.average import Average
from unveil.training.guard import GuardedAdam
from unveil.training.tally import Tally


class State:
    """Weights, their average, the best of those, the optimiser, the running sums, and the step.

    Args:
        average: knows the live weights and their average, of the model and the objective together.
        optimiser: with its moments.
        tally: sums since the last epoch's end.
    """

    def __init__(self, average: Average, optimiser: GuardedAdam, tally: Tally) -> None:
        self.average = average
        self.optimiser = optimiser
        self.tally = tally
        self.step = 0
        self.best: dict[str, Tensor] = {}
        self.best_value: float | None = None
        self.best_epoch = 0

    def consider(self, value: float, epoch: int) -> bool:
        """Keep the averaged weights if `value`, the validation -ELBO, is the smallest yet."""
        if self.best_value is not None and not value < self.best_value:
            return False
        self.best_value, self.best_epoch = value, epoch
        self.best = {name: tensor.clone() for name, tensor in self.average.state.items()}
        return True

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, live."""
        groups = {
            "weights": self.average.live,
            "average": self.average.state,
            "best": self.best,
            "optimiser": self.optimiser.tensors(),
            "tally": self.tally.tensors(),
        }
        return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}

    def facts(self) -> dict[str, Any]:
        """Everything that is no tensor, as plain data."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

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
            for mine, theirs in (
                (self.average.live, groups["weights"]),
                (self.average.state, groups["average"]),
                (self.tally.tensors(), groups["tally"]),
            ):
                for name, tensor in mine.items():
                    tensor.copy_(theirs[name])
            self.best = {name: groups["best"][name].to(tensor.device) for name, tensor in self.average.state.items()} if (
                "best" in groups
            ) else {}
            self.optimiser.restore(groups.get("optimiser", {}))
            self.step, self.best_value, self.best_epoch = int(facts["step"]), facts["best_value"], facts["best_epoch"]
        except (KeyError, IndexError, RuntimeError) as error:
            raise RunError(f"the checkpoint belongs to another model or optimiser: {str(error)[:100]}") from None
