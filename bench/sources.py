"""How fast training is on data that are not in one array in memory: times as multiples of those of the in-memory path.

    python bench/sources.py [--count 100000] [--side 28] [--rounds 9] [--write]

The same small images, generated here, as a folder of PNG files, as .npy in memory and mapped, and as tar and Parquet shards
that 0, 1 and 2 threads read ahead, from what the survey left on the disk or decoded anew. Steps of the `vae` recipe are
timed as of the second epoch, in rounds in which every source has its turn, in one process; what is printed are ratios of
medians.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import _page as page
import numpy as np
import torch
from PIL import Image

import unveil
from unveil.data import Dataset, scratch
from unveil.recipes import recipe
from unveil.training.config import Training
from unveil.training.loop import Trainer

PAGE = page.README.parent / "docs" / "data.md"
SHARDS = 20
"""Files of each kind."""
STEPS = 20
"""In a round, for each source."""
BATCH = 200
WORKERS = (0, 1, 2)


def images(count: int, side: int) -> np.ndarray:
    """(count, side, side) blurred noise, which packs about as handwritten digits do."""
    source = np.random.default_rng(0)
    coarse = source.integers(0, 256, (count, 4, 4)).astype(np.uint8)
    fine = coarse.repeat(-(-side // 4), 1).repeat(-(-side // 4), 2)[:, :side, :side]
    return np.ascontiguousarray(fine)


def png(image: np.ndarray) -> bytes:
    """An encoded image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, values: np.ndarray) -> None:
    """The images in every form."""
    import pyarrow
    import pyarrow.parquet

    for name in ("files", "tar", "parquet"):
        (folder / name).mkdir()
    np.save(folder / "x.npy", values)
    each = len(values) // SHARDS
    for shard in range(SHARDS):
        content = [png(image) for image in values[shard * each : (shard + 1) * each]]
        table = pyarrow.table({"image": pyarrow.array(content, pyarrow.binary())})
        pyarrow.parquet.write_table(table, folder / "parquet" / f"{shard:03}.parquet", row_group_size=1_000)
        with tarfile.open(folder / "tar" / f"{shard:03}.tar", "w") as archive:
            for place, one in enumerate(content):
                member = tarfile.TarInfo(f"{shard * each + place:08}.png")
                member.size = len(one)
                archive.addfile(member, io.BytesIO(one))
                (folder / "files" / member.name).write_bytes(one)


def trainer(data: Dataset, workers: int) -> Trainer:
    """Somebody who takes steps on these data."""
    torch.manual_seed(0)
    model, objective = recipe("vae").compose(data)
    config = Training(epochs=1_000, batch_size=BATCH, validate_every=0, workers=workers)
    found = Trainer(model, objective, data, config, "float32")
    found.step.train()
    return found


def sources(folder: Path) -> dict[str, tuple[Dataset, int]]:
    """Each source with its workers, after how long it took to load was said."""

    def timed(name: str, load: Callable[[], Dataset]) -> Dataset:
        start = perf_counter()
        data = load()
        print(f"{name}: loaded and fingerprinted as {data.fingerprint[:8]} in {perf_counter() - start:.1f} s", flush=True)
        return data

    array = timed("array", lambda: unveil.load(np.load(folder / "x.npy"), measure="levels"))
    files = timed("folder of PNG", lambda: unveil.load(folder / "files", measure="levels"))
    mapped = timed("mapped .npy", lambda: unveil.load(folder / "x.npy", mapped=True, measure="levels"))
    found = {"array in memory": (array, 0), "folder of PNG files": (files, 0)}
    found |= {f"mapped .npy, {workers} workers": (mapped, workers) for workers in WORKERS}
    for kind in ("tar", "parquet"):
        data = timed(f"{kind} shards", partial(unveil.load, folder / kind, measure="levels"))
        found |= {f"{kind} shards, {workers} workers": (data, workers) for workers in WORKERS}
        scratch.SHARE = 0.0
        anew = unveil.load(folder / kind, measure="levels")
        scratch.SHARE = 0.1
        found |= {f"{kind} shards, decoded anew, {workers} workers": (anew, workers) for workers in WORKERS}
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def take(trainer: Trainer, train: bool) -> None:
    """Some steps, or only their batches."""
    for k in range(STEPS):
        if train:
            trainer.advance()
        else:
            trainer.feed.batch(trainer.state.step + k)


def main() -> None:
    """Write, load, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="put the table into docs/data.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unveil-sources-") as folder:
        write(Path(folder), images(given.count, given.side))
        trainers = {name: trainer(*one) for name, one in sources(Path(folder)).items()}
        first = next(iter(trainers.values())).feed.steps_per_epoch
        steps: dict[str, list[float]] = {name: [] for name in trainers}
        feeds: dict[str, list[float]] = {name: [] for name in trainers}
        for one in trainers.values():
            one.state.step = first  # of the second epoch: every step is found without those before it
            one.prepare()
        for _ in range(given.rounds + 1):
            for name, one in trainers.items():
                feeds[name].append(seconds(partial(take, one, train=False)))
                one.feed.batch(one.state.step)  # so that the next step finds what is ahead of it, as it does in training
                steps[name].append(seconds(partial(take, one, train=True)))
    base = median(steps["array in memory"][1:])
    lines = [f"| {given.count:,} images of {given.side} x {given.side}, batch {BATCH} | a step | of it the batch alone |"]
    lines.append("|---|---|---|")
    for name in trainers:
        step, feed = (median(found[name][1:]) / base for found in (steps, feeds))
        lines.append(f"| {name} | {step:.2f} | {feed:.2f} |")
    print("\n".join(lines))
    print(f"as multiples of a step on the array in memory, {1e3 * base / STEPS:.2f} ms")
    if given.write:
        page.write("sources", "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
