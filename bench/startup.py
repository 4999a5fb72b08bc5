"""How long a person waits for the first answer: `unveil --help`, `unveil sample`, and torch's own import beside it.

    ./run bench startup [--rounds 7] [--write]

The three take turns, each a process of its own, from its start to its end; medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import _page as page

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
COMMANDS = {
    "`unveil --help`": ["-m", "unveil", "--help"],
    "`python -c 'import torch'`": ["-c", "import torch"],
    "`unveil sample mnist-2d -n 16`": ["-m", "unveil", "sample", "mnist-2d", "-n", "16"],
}


def seconds(arguments: list[str]) -> float:
    """That a process of these arguments takes, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = perf_counter()
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
        lasted = perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return lasted


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    given = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round in range(given.rounds + 1):
        for name, arguments in COMMANDS.items():
            lasted = seconds(arguments)
            if round:  # the first one reads from disk what the others find in memory
                found[name].append(lasted)
    table = "\n".join(["| command | seconds |", "|---|---|", *(f"| {k} | {median(v):.2f} |" for k, v in found.items())])
    print(table)
    if given.write:
        page.write("startup", table, PAGE)


if __name__ == "__main__":
    main()
