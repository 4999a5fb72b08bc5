"""What is trained where no recipe is named, against the default recipe: nats of both on several data sets, in docs/data.md.

    python bench/proposals.py [--data-dir DIR] [--write]

Each proposal is trained as `unveil train DATA` would; the default is `vae`, or `table`, as the recipe says. -ELBO of the
test split's rows, and the difference with its standard error over rows: the same rows, read and drawn for alike. A quarter
of an hour on 2 cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import _page as page
import numpy as np
import torch
from torch import Tensor

import unveil
from unveil.data import Dataset
from unveil.recipes import RECIPES, Recipe, propose

DOCS = Path(__file__).parents[1] / "docs" / "data.md"
HEAD = """| data | proposed | -ELBO, nats | in | by default | in | difference |
|---|---|---|---|---|---|---|"""


def photographs(folder: Path, rows: int = 4_000) -> Dataset:
    """Smooth images in colour, 32 x 32, of discs before a gradient: a stand-in for photographs."""
    source = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    u = torch.rand(rows, 14, 1, 1, generator=source)
    ground = u[:, 0:3] + (u[:, 3:6] - u[:, 0:3]) * (x * u[:, 6:7] + y * u[:, 7:8])
    disc = ((x - u[:, 8:9]) ** 2 + (y - u[:, 9:10]) ** 2 < (0.1 + 0.25 * u[:, 10:11]) ** 2).float()
    image = ground * (1 - disc) + u[:, 11:14] * disc + 0.02 * torch.randn(rows, 3, 32, 32, generator=source)
    return unveil.load((image.clamp(0, 1) * 255).to(torch.uint8), measure="levels")


def people(folder: Path, rows: int = 5_000) -> Dataset:
    """A table whose columns depend on one another, with gaps."""
    source = np.random.default_rng(0)
    z, noise = source.normal(size=(rows, 2)), source.normal(size=(rows, 4))
    height, income = 170 + 10 * z[:, 0] + 3 * noise[:, 0], np.exp(10 + 0.5 * z[:, 1] + 0.2 * noise[:, 1])
    city = np.array(["Oslo", "Paris", "Rome"])[np.digitize(z[:, 1] + noise[:, 2], [-0.7, 0.7])]
    visits = source.poisson(np.exp(0.5 + 0.5 * z[:, 0]))
    gap = source.random(rows) < 0.07
    lines = ["height,income,city,visits"]
    cells = zip(height, income, city, visits, gap, strict=True)
    lines += [f"{h:.1f},{'' if g else f'{i:.0f}'},{c},{v}" for h, i, c, v, g in cells]
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    return unveil.load(folder / "people.csv")


def some_mnist(rows: int, data_dir: str | None) -> Dataset:
    """MNIST's first training images, under a name that no recipe has."""
    data = unveil.load("mnist", data_dir=data_dir)
    values = data.train.values[:rows]
    assert isinstance(values, Tensor)
    return unveil.load(values)


def main() -> None:
    """Train both on each, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put the table into docs/data.md")
    given = parser.parse_args()
    room = Path(tempfile.mkdtemp(prefix="unveil-proposals-"))
    data: dict[str, Callable[[], Dataset]] = {
        "digits, 8x8": lambda: unveil.load("digits"),
        "shapes, 28x28": lambda: unveil.load("shapes"),
        "5,000 of MNIST": lambda: some_mnist(5_000, given.data_dir),
        "50,000 of MNIST": lambda: some_mnist(50_000, given.data_dir),
        "4,000 discs, 3x32x32": lambda: photographs(room),
        "5,000 people, 4 columns": lambda: people(room),
        "linear-gaussian": lambda: unveil.load("linear-gaussian"),
    }
    rows = [HEAD]
    for number, (name, make) in enumerate(data.items()):
        rows.append(row(name, make(), room / str(number)))
        print(rows[-1], flush=True)
    if given.write:
        page.write("proposals", "\n".join(rows), DOCS)


def row(name: str, data: Dataset, room: Path) -> str:
    """A line of the table."""
    proposal = propose(data).recipe
    ours, lasted = trained(data, proposal, room / "proposed")
    theirs, long = trained(data, RECIPES[proposal.name], room / "default")
    gap = ours - theirs
    error = float(gap.std()) / len(gap) ** 0.5
    settings, training = proposal.model, proposal.training
    said = f"{settings.network}, z of {settings.latent}, batch {training.batch_size}, {training.epochs} epochs"
    both = f"{float(ours.mean()):.2f} | {lasted:.0f} s | {float(theirs.mean()):.2f} | {long:.0f} s"
    return f"| {name} | {said} | {both} | {float(gap.mean()):+.2f} ± {error:.2f} |"


def trained(data: Dataset, recipe: Recipe, out: Path) -> tuple[Tensor, float]:
    """-ELBO of each test row, and how long training took."""
    start = perf_counter()
    run = unveil.train(data, recipe=recipe, out=out)
    lasted = perf_counter() - start
    return run.evaluate(samples=20).values["neg_elbo"], lasted


if __name__ == "__main__":
    main()
