"""How near a step comes to what the machine can do: its time, and that of its products and convolutions by themselves.

    ./run bench steady [NAME ...] [--rounds 9] [--no-compile] [--data-dir DIR] [--write]

For each network of the table, steps as they are, compiled steps, and the same products and convolutions without all else
take turns in one process; medians. The second share is of the measured rate of a large bfloat16 product (float32 where the
machine has no instructions for the other), which small products do not reach. About two minutes a network.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import _page as page
import torch
from _steady import EXAMPLE, Case, Steady, measure
from time_to_nats import gray_mnist

import unveil
from unveil.evaluation import matrix_rate
from unveil.training.precision import resolve

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
CASES = [
    EXAMPLE,
    replace(EXAMPLE, name="784-400-20, a large batch", batch=2000),
    Case("`mnist`", "mnist"),
    Case("`iwae-50`", "iwae-50"),
    Case("`mnist-flow`", "mnist-flow"),
    Case("`mnist-conv`", "mnist-conv"),
    Case("`nvae-small`", "nvae-small"),
]
HEAD = """| network | batch | a step | compiled | its products alone | share | operations | of the matrix rate |
|---|---|---|---|---|---|---|---|"""


def named(case: Case) -> str:
    """What its network is called here."""
    return "example" if case.gray else case.recipe


def row(case: Case, batch: int, found: Steady, rate: float) -> str:
    """A line of the table."""
    quick = min(found.compiled or found.plain, found.plain)
    compiled = "" if found.compiled is None else f"{1e3 * found.compiled:.2f} ms"
    return (
        f"| {case.name} | {batch} | {1e3 * found.plain:.2f} ms | {compiled} | {1e3 * found.alone:.2f} ms | "
        f"{found.share:.0%} | {found.count / 1e9:.2f} G | {found.count / quick / rate:.0%} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [named(case) for case in CASES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(dict.fromkeys(known))}; none for all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    given = parser.parse_args()
    if given.names and (given.write or not set(given.names) <= set(known)):
        parser.error("names are of the table's networks, and the table is written as a whole: leave names or --write out")
    cases = [case for case in CASES if not given.names or named(case) in given.names]
    device = torch.device("cpu")
    precision = resolve("auto", device)
    rate = matrix_rate(getattr(torch, precision))
    print(f"{rate / 1e9:.0f} GFLOP/s of {precision} products\n{HEAD}")
    binarised, lines = unveil.load("mnist", data_dir=given.data_dir), []
    for case in cases:
        data = gray_mnist(given.data_dir) if case.gray else binarised
        found = measure(case, data, device, not given.no_compile, given.rounds)
        lines.append(row(case, case.batch or unveil.recipes.recipe(case.recipe).training.batch_size, found, rate))
        print(lines[-1], flush=True)
    if given.write:
        said = f"{rate / 1e9:.0f} GFLOP/s of {precision} products were measured beside it."
        page.write("steady", "\n".join([HEAD, *lines, "", said]), PAGE)


if __name__ == "__main__":
    main()
