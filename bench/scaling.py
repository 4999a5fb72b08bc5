"""What a training step costs as data, latent, network, draws and processes grow: microseconds an image, and memory.

    ./run bench scaling [--most 10000000] [--rounds 3] [--seconds 3] [--only data latent ...] [--write]

Images of 28 x 28 are generated. Each point is a process of its own, which warms up and then takes steps for a few seconds;
the median step counts, and of several rounds the median of those. Beside each cost stands that of the straight line through
all points of its series, found by least squares of relative errors: cost(n) = a + b n, but for data, where an image is to
cost the same whatever n. 'memory' is the most that the process ever held of its own (anonymous pages: what the system
caches of files is not counted), less what it held before it loaded the data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import _page as page

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
BATCH = 200
SIDE = 28
ROWS = 20_000
"""Images of the series that is not about data."""
PIECE = 100_000
"""Images that are generated at a time."""
SERIES: dict[str, Sequence[int]] = {
    "data": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "latent": (2, 8, 32, 128, 512),
    "network": (100, 200, 400, 800, 1_600),
    "draws": (1, 2, 4, 8, 16, 32),
    "processes": (1, 2),
}
SAID = {
    "data": "images, read from a file as the steps ask for them",
    "latent": "latent dimensions",
    "network": "weights",
    "draws": "K draws of an importance-weighted bound",
    "processes": "processes, one thread each, batch 2000 together",
}


def images(path: Path, count: int) -> None:
    """`count` images of blurred noise as an array in a file, never more than a piece of them in memory."""
    import numpy as np

    source = np.random.default_rng(0)
    shape = (count, SIDE, SIDE)
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, count, PIECE):
        rows = written[start : start + PIECE]
        rows[:] = source.integers(0, 256, (len(rows), 4, 4), dtype=np.uint8).repeat(7, 1).repeat(7, 2)
    written.flush()


def anonymous() -> float:
    """MiB of its own that this process holds."""
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def point(given: argparse.Namespace) -> dict[str, float]:
    """One point in this process."""
    import torch

    import unveil
    from unveil.objectives import Iwae
    from unveil.recipes import recipe
    from unveil.training import Training
    from unveil.training.loop import Trainer
    from unveil.training.precision import resolve
    from unveil.training.ranks import join

    series, n = given.point, given.value
    if series == "processes":
        torch.set_num_threads(1)
    team = join(600)
    before = anonymous()
    start = perf_counter()
    data = unveil.load(given.file, measure="levels" if series == "data" else "binary", mapped=series == "data")
    loaded = perf_counter() - start
    width, latent = (n if series == "network" else 400), (n if series == "latent" else 20)
    torch.manual_seed(0)
    model, objective = recipe("vae").given(latent=latent, hidden=(width,), kl_warmup=0.0).compose(data)
    batch = 10 * BATCH if series == "processes" else BATCH
    config = Training(epochs=10**6, batch_size=batch, validate_every=0, seed=0)
    precision = resolve("auto", torch.device("cpu"))
    trainer = Trainer(model, Iwae(n) if series == "draws" else objective, data, config, precision, team=team)
    trainer.step.train()
    trainer.prepare()
    times: list[float] = []
    steps, most = 0, 0.0
    while steps < 20 or (sum(times) < given.seconds and steps < 5_000):
        start = perf_counter()
        trainer.advance()
        spent = perf_counter() - start
        steps += 1
        if steps > 10:
            times.append(spent)
        most = max(most, anonymous())
        # every rank takes as many steps
        if team.size > 1 and steps >= 60:
            break
    weights = sum(parameter.numel() for parameter in model.parameters())
    return {
        "cost": 1e6 * median(times) / trainer.feed.batch_size,
        "memory": most - before,
        "load": loaded,
        "weights": weights,
    }


def measure(series: str, n: int, file: Path, given: argparse.Namespace) -> dict[str, float]:
    """One point in processes of its own."""
    own = [
        str(Path(__file__).resolve()),
        "--point",
        series,
        "--value",
        str(n),
        "--file",
        str(file),
        "--seconds",
        str(given.seconds),
    ]
    command = [sys.executable, *own]
    if series == "processes" and n > 1:
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={n}", *own]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"} if series == "processes" else None,
    )
    if done.returncode:
        sys.exit(f"{series} {n} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return found


def line(xs: Sequence[float], ys: Sequence[float], slope: bool) -> list[float]:
    """What the straight line through the points gives at each of them; relative errors are least."""
    import numpy as np

    x, y = np.asarray(xs, float), np.asarray(ys, float)
    columns = np.stack([np.ones_like(x), x][: 1 + slope], 1)
    fitted = columns @ np.linalg.lstsq(columns / y[:, None], np.ones_like(y), rcond=None)[0]
    return [float(one) for one in fitted]


def table(series: str, ns: Sequence[int], found: Sequence[dict[str, float]]) -> list[str]:
    """A series as lines of a page."""
    xs = [one["weights"] for one in found] if series == "network" else list(ns)
    costs = [one["cost"] for one in found]
    fitted = line(xs, costs, series != "data") if series != "processes" else None
    heads = [SAID[series], "µs an image", *(["the line's"] if fitted else []), "memory, MiB"]
    heads += ["loaded in"] if series == "data" else []
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for place, one in enumerate(found):
        row = [
            f"{xs[place]:,.0f}",
            f"{one['cost']:.1f}",
            *([f"{fitted[place]:.1f}"] if fitted else []),
            f"{one['memory']:,.0f}",
        ]
        row += [f"{one['load']:.1f} s"] if series == "data" else []
        lines.append(f"| {' | '.join(row)} |")
    if fitted is not None:
        worst = max(abs(cost / fit - 1) for cost, fit in zip(costs, fitted, strict=True))
        lines.append(f"\nFarthest from the line: {worst:.0%}.")
    else:
        lines.append(f"\nTwice the processes: {costs[0] / costs[1]:.2f} times as fast.")
    return lines


def main() -> None:
    """Measure each series and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10**7, help="images at the most; ten million take 7.8 GB of disk")
    parser.add_argument("--rounds", type=int, default=3, help="in which every point of a series has its turn")
    parser.add_argument("--seconds", type=float, default=3.0, help="of steps, for each point")
    parser.add_argument("--only", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{PAGE.name}")
    for name in ("--point", "--file"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--value", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        one = point(given)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(one))
        return
    with tempfile.TemporaryDirectory(prefix="unveil-scaling-") as folder:
        file = Path(folder) / "x.npy"
        for series in given.only:
            ns = [n for n in SERIES[series] if series != "data" or n <= given.most]
            images(file, ROWS)
            found: dict[int, list[dict[str, float]]] = {n: [] for n in ns}
            for _ in range(given.rounds):
                for n in ns:
                    if series == "data":
                        images(file, n)
                    found[n].append(measure(series, n, file, given))
            lines = table(series, ns, [{key: median(one[key] for one in found[n]) for key in found[n][0]} for n in ns])
            print("\n".join(lines) + "\n", flush=True)
            if given.write:
                page.write(series, "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
