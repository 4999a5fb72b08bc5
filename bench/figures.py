"""The README's figures: train the two recipes for MNIST, evaluate them on the whole test split, write the table.

    python bench/figures.py [--runs FOLDER] [--data-dir DIR]

About eight minutes on 2 cores. With --runs, run folders mnist-2d and mnist that lie there, and their report.json, are
taken instead of trained and evaluated anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import _page as page

import unveil
from unveil import album
from unveil.store import RunFolder

RECIPES = ("mnist-2d", "mnist")
HEAD = """| recipe | -log p(x), nats | -ELBO | distortion | rate | effective draws | trained in | command |
|---|---|---|---|---|---|---|---|"""


def measure(recipe: str, folder: Path, data_dir: str | None) -> None:
    """Train and evaluate one recipe."""
    data = unveil.load("mnist", data_dir=data_dir)
    run = unveil.train(data, recipe=recipe, out=folder)
    album.draw(run.model, data, run.metrics(), folder / "pictures")
    run.evaluate()


def row(recipe: str, folder: Path) -> str:
    """A line of the table from what the run left behind."""
    report = json.loads((folder / "report.json").read_text())
    lasted = RunFolder(folder).lines("timing.jsonl")[-1]["seconds"]
    facts = report["data"], report["split"], report["nll"]["n"], report["samples"], report["seed"]
    if facts != ("mnist", "test", 10_000, 500, 0):
        raise SystemExit(f"{folder} was not evaluated on the whole test split; run: unveil evaluate {folder}")

    def figure(name: str, places: int = 2) -> str:
        found: dict[str, Any] = report[name]
        return f"{found['value']:.{places}f} ± {found['stderr']:.{places}f}"

    words = ["nll", "neg_elbo", "distortion", "rate"]
    cells = [f"`{recipe}`", *map(figure, words), figure("ess", 0), f"{lasted:.0f} s"]
    return f"| {' | '.join(cells)} | `unveil train mnist --recipe {recipe}` |"


def main() -> None:
    """Measure, or take what was measured, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    runs = given.runs or Path(tempfile.mkdtemp(prefix="unveil-figures-"))
    if given.runs is None:
        for recipe in RECIPES:
            measure(recipe, runs / recipe, given.data_dir)
    table = "\n".join([HEAD, *(row(recipe, runs / recipe) for recipe in RECIPES)])
    page.write("figures", table)
    shutil.copyfile(runs / "mnist-2d" / "pictures" / "manifold.png", page.README.parent / "docs" / "manifold.png")
    print(table)


if __name__ == "__main__":
    main()
