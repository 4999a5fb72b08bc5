"""Whether Muon reaches the example's loss sooner than Adam: test loss after as many epochs, and what a step costs.

    ./run bench muon [--data-dir DIR] [--write]

The composition of `time_to_nats`, its schedule and its average, in one plain loop for both: torch.optim.Muon for the
matrices with Adam for all else, at several rates, and Adam for everything. Two minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import _page as page
import torch
from time_to_nats import compose, gray_mnist
from torch import nn

from unveil.data import Feed
from unveil.evaluation import bound
from unveil.randomness import reseed
from unveil.training.precision import autocast, resolve
from unveil.training.schedules import learning_rate
from unveil.training.step import Step

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
RATES = [(1e-2, 2e-2), (1e-2, 5e-2), (2e-2, 1e-1)]
"""Of Adam and of Muon beside it."""
HEAD = """| optimiser | batch | a step, ms | test loss after two epochs, nats |
|---|---|---|---|"""


def train(data: Any, batch: int, adam: float, muon: float | None) -> tuple[float, float]:
    """Milliseconds a step, and the test loss in nats."""
    device = torch.device("cpu")
    precision = resolve("auto", device)
    model, objective, config = compose(data)
    config = replace(config, batch_size=batch)
    step = Step(model, objective).train()
    feed = Feed(data.train, batch, config.seed, device)
    total = config.epochs * feed.steps_per_epoch
    matrices = [p for p in step.parameters() if p.dim() == 2 and muon is not None]
    rest = [p for p in step.parameters() if all(p is not one for one in matrices)]
    optimisers: list[tuple[torch.optim.Optimizer, float]] = [(torch.optim.Adam(rest, betas=(0.9, 0.99), fused=True), adam)]
    if muon is not None:
        kind = torch.optim.Muon(matrices, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw")
        optimisers.append((kind, muon))
    weights: list[nn.Parameter] = list(step.parameters())
    average = [p.detach().clone() for p in weights]
    start = perf_counter()
    for number in range(total):
        for optimiser, rate in optimisers:
            optimiser.param_groups[0]["lr"] = learning_rate(replace(config, learning_rate=rate), number, total)
        reseed(config.seed, "step", number, 0)
        with autocast(precision, device):
            losses, _, _ = step(feed.batch(number), torch.tensor(number / feed.steps_per_epoch))
        losses["model"].backward()
        for optimiser, _ in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        follow = 1 - min(config.average, (1 + number) / (10 + number))
        torch._foreach_lerp_(average, [p.detach() for p in weights], follow)
    lasted = perf_counter() - start
    with torch.no_grad():
        for weight, value in zip(weights, average, strict=True):
            weight.copy_(value)
    found = bound(model, data.test.batches(1000, 0), 0, device)
    return 1e3 * lasted / total, float((found["distortion"] + found["rate"]).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put the table into docs/architecture.md")
    given = parser.parse_args()
    data, lines = gray_mnist(given.data_dir), [HEAD]
    print(HEAD)
    for batch, adam, muon in ((400, 3.3e-2, None), *((400, *pair) for pair in RATES), (1000, 1e-2, 1e-1)):
        name = f"Adam, {adam}" if muon is None else f"Muon, {muon}, and Adam, {adam}"
        milliseconds, loss = train(data, batch, adam, muon)
        lines.append(f"| {name} | {batch} | {milliseconds:.1f} | {loss:.2f} |")
        print(lines[-1], flush=True)
    if given.write:
        page.write("muon", "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
