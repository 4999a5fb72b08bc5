"""What each choice of the architecture is worth: with it and without it, alternating in one run.

    python bench/ablations.py [--data-dir DIR] [--write]

The network is that of time_to_nats.py. Times are medians in milliseconds; under two minutes on 2 cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import _page as page
import time_to_nats
import torch
from torch.distributions import Bernoulli, Independent, Normal

import unveil
from unveil.data import Binarise, Reading
from unveil.distributions import DiagonalGaussian, IndependentBernoulli
from unveil.evaluation import bound
from unveil.training.flat import Flat
from unveil.training.loop import Trainer, fit
from unveil.training.precision import resolve

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
CPU = torch.device("cpu")
ROWS, PIXELS, LATENT = 400, 784, 20
RATES = 8e-3, 1.6e-2, 3.2e-2


def alternate(arms: list[Callable[[], Any]], rounds: int = 15, repeats: int = 20) -> list[float]:
    """Milliseconds of each arm: medians over rounds in which all take turns."""
    times: list[list[float]] = [[] for _ in arms]
    for _ in range(rounds + 1):
        for taken, arm in zip(times, arms, strict=True):
            start = perf_counter()
            for _ in range(repeats):
                arm()
            taken.append(1e3 * (perf_counter() - start) / repeats)
    return [median(taken[1:]) for taken in times]


def shadow(data: Any, precision: Any) -> tuple[float, float]:
    """A training step whose layers read a shadow of the weights in bfloat16, and one that leaves the casts to autocast."""
    trainers = []
    for low in (None, torch.float32):
        model, objective, training = time_to_nats.compose(data)
        trainer = Trainer(model, objective, data, training, precision)
        if low is not None:
            trainer.state.flat.release()
            flat = Flat(trainer.step)
            trainer.state.flat = trainer.state.optimiser.flat = trainer.state.average.flat = flat
        trainers.append(trainer)
    with_it, without = alternate([trainer.advance for trainer in trainers])
    return with_it, without


def density(ours: Any, torchs: Any, x: torch.Tensor, *leaves: torch.Tensor) -> tuple[float, float]:
    """Log-density and its gradient, of our distribution and of torch's."""

    def arm(make: Any) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(make().log_prob(x).sum(), leaves)

    with_it, without = alternate([arm(ours), arm(torchs)])
    return with_it, without


def reading() -> tuple[float, float]:
    """Binarising 400 images with 16 random bits a pixel, and with a random float each."""
    values = torch.randint(0, 256, (ROWS, PIXELS), dtype=torch.uint8)
    bits: Reading = Binarise()
    with_it, without = alternate([lambda: bits(values), lambda: (torch.rand(values.shape) < values / 255).float()])
    return with_it, without


def start(data: Any, precision: Any) -> tuple[float, float]:
    """Test loss after two epochs, with and without the centred input and the decoder's bias begun at the mean.

    Each at that of three learning rates which does best on the validation split.
    """
    reached = []
    for whole in (True, False):
        found = []
        for rate in RATES:
            model, objective, training = time_to_nats.compose(data)
            if not whole:
                model.posterior.network = model.posterior.network.network
                torch.nn.init.zeros_(model.likelihood.network.last.bias)
            fit(model, objective, data, replace(training, learning_rate=rate), precision)
            found.append([loss(model, split) for split in (data.validation, data.test)])
        reached.append(min(found)[1])
    return reached[0], reached[1]


def loss(model: Any, split: Any) -> float:
    """-ELBO of the binarised images of a split under an encoder that sees gray, nats per image."""
    found = bound(model, split.batches(1000, 0), 0, CPU)
    return float((found["distortion"] + found["rate"]).mean())


def main() -> None:
    """Measure every choice and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put the table into docs/architecture.md")
    given = parser.parse_args()
    data = time_to_nats.gray_mnist(given.data_dir)
    held_out = unveil.load("mnist", data_dir=given.data_dir, measure="unit")
    precision = resolve("auto", CPU)
    torch.manual_seed(0)
    logits = torch.randn(ROWS, PIXELS, requires_grad=True)
    x = torch.rand(ROWS, PIXELS).round()
    loc, log_scale = (torch.randn(ROWS, LATENT, requires_grad=True) for _ in range(2))
    z = torch.randn(ROWS, LATENT)
    found = {
        "a shadow of the weights in bfloat16: a step, ms": shadow(data, precision),
        "our Bernoulli: log-density and gradient, ms": density(
            lambda: IndependentBernoulli(logits), lambda: Independent(Bernoulli(logits=logits), 1), x, logits
        ),
        "our Gaussian: log-density and gradient, ms": density(
            lambda: DiagonalGaussian(loc, log_scale),
            lambda: Independent(Normal(loc, log_scale.exp()), 1),
            z,
            loc,
            log_scale,
        ),
        "16 random bits a pixel: binarising a batch, ms": reading(),
        "centred input, bias at the mean: test loss after two epochs, nats": start(held_out, precision),
    }
    lines = [f"| choice (network 784-400-20, batch {ROWS}) | with it | without |", "|---|---|---|"]
    lines += [f"| {name} | {with_it:.2f} | {without:.2f} |" for name, (with_it, without) in found.items()]
    print("\n".join(lines))
    if given.write:
        page.write("ablations", "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
