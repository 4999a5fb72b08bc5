"""What a step takes in steady state, and what its products and convolutions take by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter
from typing import Any

import torch

from unveil.data import Dataset
from unveil.evaluation import operations
from unveil.recipes import recipe
from unveil.training.loop import Trainer
from unveil.training.precision import resolve

WARM = 10


@dataclass(frozen=True)
class Case:
    """A training whose steps are timed.

    Attributes:
        name: of its row.
        recipe: of the model.
        settings: of the model, where they are not the recipe's.
        batch: examples in a step; 0 for the recipe's.
        gray: whether x is gray and not binarised.
    """

    name: str
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    batch: int = 0
    gray: bool = False


EXAMPLE = Case("784-400-20", "vae", {"latent": 20, "hidden": (400,), "activation": "relu", "kl_warmup": 0.0}, 400, True)
"""The network of the example everybody starts from, as `time_to_nats` trains it."""


def trainer(case: Case, data: Dataset, device: torch.device, compiling: bool = False) -> Trainer:
    """Ready for its first step, and never at its end."""
    chosen = recipe(case.recipe).given(**case.settings)
    torch.manual_seed(0)
    model, objective = chosen.compose(data)
    config = replace(chosen.training, epochs=10_000, validate_every=0, batch_size=case.batch or chosen.training.batch_size)
    model, objective = model.to(device), objective.to(device)
    made = Trainer(model, objective, data, config, resolve("auto", device), compiling=compiling)
    made.step.train()
    made.prepare()
    return made


def timer(device: torch.device) -> Callable[[Callable[[], Any], int], float]:
    """Seconds that a function takes, the mean of so many calls in a row."""

    def seconds(function: Callable[[], Any], times: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = perf_counter()
        for _ in range(times):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (perf_counter() - start) / times

    return seconds


def products(function: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """A function that takes the matrix products and convolutions of one call of `function` again, and nothing else."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    calls: list[tuple[Any, Any, Any]] = []

    class Collect(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._overloadpacket in flop_registry:
                calls.append((func, [apart(one) for one in args], kwargs or {}))
            return func(*args, **(kwargs or {}))

    def apart(given: Any) -> Any:
        """Without the graph that made it, which would live as long."""
        return given.detach() if isinstance(given, torch.Tensor) else given

    with Collect():
        function()

    @torch.no_grad()
    def again() -> None:
        for func, args, kwargs in calls:
            func(*args, **kwargs)

    if device.type != "cuda":
        return again
    again()  # in a graph too, so that what is compared with it need not wait for the host
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        again()

    def replayed() -> None:
        assert calls  # whose tensors the graph reads, so that they live as long as it does
        graph.replay()

    return replayed


@dataclass(frozen=True)
class Steady:
    """What was found.

    Attributes:
        plain: seconds of a step as it is.
        compiled: of a compiled one; None where it was not to be compiled.
        alone: of its products and convolutions by themselves.
        count: their operations, a multiply-add counted as two.
        share: of the time of the quicker step that `alone` takes, the median over rounds.
    """

    plain: float
    compiled: float | None
    alone: float
    count: int
    share: float


def measure(case: Case, data: Dataset, device: torch.device, compiling: bool, rounds: int, span: float = 0.3) -> Steady:
    """The step as it is, compiled, and its products alone take turns for `rounds` times `span` seconds each; medians."""
    seconds = timer(device)
    plain = trainer(case, data, device)
    steps: dict[str, Callable[[], Any]] = {"plain": plain.advance}
    for _ in range(WARM):  # captured, where it can be, before anything else holds on to what it made
        plain.advance()
    if compiling:
        made = trainer(case, data, device, True)
        if not made.steps.compiled:
            raise SystemExit(f"{case.name} cannot be compiled here")
        steps["compiled"] = made.advance
    # the step as it is, not the graph that it may have been captured in
    steps["alone"] = products(lambda: plain.steps._take(plain.state.step, None, False), device)
    count = operations(lambda: plain.steps._take(plain.state.step, None, False))
    for function in steps.values():
        seconds(function, WARM)
    times = {name: max(2, int(span / seconds(function, WARM))) for name, function in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, function in steps.items():
            found[name].append(seconds(function, times[name]))
    quick = min((found[name] for name in found if name != "alone"), key=median)
    shares = [alone / step for alone, step in zip(found["alone"], quick, strict=True)]
    middle = {name: median(values) for name, values in found.items()}
    return Steady(middle["plain"], middle.get("compiled"), middle["alone"], count, median(shares))
