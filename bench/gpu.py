"""How fast on a CUDA GPU: the example's network, how long until 106.0 nats, and the hierarchy against its own products.

    ./run bench gpu [--device cuda] [--rounds 9] [--data-dir DIR] [--write]

(a) 784-400-20-400-784 on 60,000 gray images, batches of 200: an epoch, as it is captured and as it is compiled and
    captured.
(b) The same network, until a test loss of 106.0 nats: two epochs of one-cycle Adam in batches of 400. A first training
    compiles and captures; the second begins at the same weights anew and is timed.
(c) The recipe mnist-ladder: a step against its own products and convolutions, replayed as one graph beside it.
(d) Whether a training that was stopped goes on to the same bytes under --deterministic.

On a machine without such a device nothing is measured, and it says so. About five minutes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import _page as page
import torch
from _steady import EXAMPLE, Case, measure, timer, trainer
from time_to_nats import TARGET, compose, gray_mnist

import unveil
from unveil.data import Dataset
from unveil.evaluation import bound
from unveil.training.loop import Trainer
from unveil.training.precision import device_for, resolve
from unveil.training.stop import Stop

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
HEAD = """| what | measured | aim |
|---|---|---|"""


def check(made: Trainer, compiling: bool) -> None:
    """See that a training was taken as its row says."""
    captured = made.steps.captured is not None and made.steps.captured.graph is not None
    if made.feed.device.type == "cuda" and not captured:
        raise SystemExit("the step was not captured as a CUDA graph")
    if made.steps.compiled != compiling:
        raise SystemExit("the step was not compiled" if compiling else "the step was compiled")


def epochs(data: Dataset, device: torch.device, rounds: int) -> Iterator[str]:
    """(a)."""
    seconds, case = timer(device), replace(EXAMPLE, batch=200)
    for compiling, name in ((False, "captured"), (True, "compiled and captured")):
        made = trainer(case, data, device, compiling)
        steps = made.feed.steps_per_epoch
        seconds(made.advance, steps)
        check(made, compiling)
        found = steps * median(seconds(made.advance, steps) for _ in range(rounds))
        yield f"| an epoch of 60,000 images, 784-400-20, batches of 200, {name} | {1e3 * found:.1f} ms | 40 ms |"


def until(data: Dataset, device: torch.device, rounds: int) -> Iterator[str]:
    """(b)."""
    model, objective, config = compose(data)
    precision = resolve("auto", device)
    made = Trainer(model.to(device), objective.to(device), data, config, precision, compiling=True)
    start = {name: tensor.clone() for name, tensor in made.state.tensors().items()}
    facts = {**made.state.facts(), "step": 0}
    seconds, times, losses = timer(device), [], []

    def train() -> None:
        made.state.restore(start, facts)
        with Stop(False) as stop:
            made.go(stop)

    for _ in range(rounds + 1):
        times.append(seconds(train, 1))
        with made.state.flat.using(made.state.average.values):
            found = bound(model, data.test.batches(1000, 0), 0, device)
        losses.append(float((found["distortion"] + found["rate"]).mean()))
    check(made, True)
    reached = "not reached" if max(losses[1:]) > TARGET else f"{median(times[1:]):.3f} s"
    yield f"| {TARGET} nats after warm-up (loss {median(losses[1:]):.2f}) | {reached} | 0.3 s |"


def ladder(data: Dataset, device: torch.device, rounds: int) -> Iterator[str]:
    """(c)."""
    found = measure(Case("ladder", "mnist-ladder"), data, device, True, rounds)
    assert found.compiled is not None
    yield (
        f"| a step of `mnist-ladder`: {1e3 * found.plain:.2f} ms, compiled {1e3 * found.compiled:.2f} ms, its products "
        f"alone {1e3 * found.alone:.2f} ms | {found.share:.0%} | 70% |"
    )


class Stopped(KeyboardInterrupt):
    """In the middle of a training: no error, which a monitor could raise without ending it."""


def resumed(data: Dataset, device: torch.device) -> Iterator[str]:
    """(d)."""
    settings: dict[str, Any] = {"epochs": 2, "device": str(device), "deterministic": True}
    settings |= {"validate_every": 0, "checkpoint_steps": 100}

    class Falls:
        """Ends it without notice."""

        def begin(self, watched: object) -> None:
            """Nothing yet."""

        def step(self, step: int) -> None:
            if step == 250:
                raise Stopped

        def epoch(self, record: object) -> None:
            """Nothing either."""

    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        unveil.train(data, "vae", out=whole, **settings)
        try:
            unveil.train(data, "vae", out=part, monitor=Falls(), **settings)
        except Stopped:
            unveil.train(data, "vae", out=part, resume=True, **settings)
        same = (whole / "model.safetensors").read_bytes() == (part / "model.safetensors").read_bytes()
    yield f"| stopped at step 250 of 550 and gone on with, the same weights under --deterministic | {same} | True |"


def main() -> None:
    """Measure and print, or say that there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("not measured: there is no CUDA device here")
    device = device_for(given.device)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    gray, binarised, lines = gray_mnist(given.data_dir), unveil.load("mnist", data_dir=given.data_dir), [HEAD]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(HEAD)
    # what is to be deterministic first: cuBLAS asks once, before its first product, how it is to work
    for part in (
        *(resumed(binarised, device), epochs(gray, device, given.rounds), until(gray, device, given.rounds)),
        ladder(binarised, device, given.rounds),
    ):
        for line in part:
            lines.append(line)
            print(line, flush=True)
        if given.write:
            page.write("gpu", "\n".join([*lines, "", f"On {name}, torch {torch.__version__}."]), PAGE)


if __name__ == "__main__":
    main()
