"""Recipes that aim at published likelihoods, trained and evaluated by the commands a user types, in docs/records.md.

    ./run bench records NAME [--seeds 3] [--data-dir DIR] [--runs FOLDER] [--write]

NAME is mnist-2d, mnist, iwae-50, mnist-flow or mnist-conv, and with a GPU mnist-conv-gpu, mnist-ladder or
mnist-ladder-long. Each seed is trained by `unveil train` and evaluated by `unveil evaluate`, processes of their own. With
--runs, what lies there trained or evaluated is taken, and what was interrupted goes on. With --write the row goes into
docs/records.md; commands, machine, the last lines of training and the report card of each seed go into
docs/records/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _page as page

from unveil.errors import RunError
from unveil.evaluation import Report
from unveil.opening import open as opened
from unveil.store import RunFolder

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DETAILS = DOCS / "records.md", DOCS / "records"
LINES, RECORDS = 8, 3
"""Last lines of the terminal, and last records of metrics.jsonl, that are shown."""
HEAD = """| recipe | -log p(x), nats, for each seed | K | images | aim | trained in | budget | machine | command |
|---|---|---|---|---|---|---|---|---|"""
NOT_YET, NO_MACHINE = "not measured yet", "not measured: no such machine was at hand"


@dataclass(frozen=True)
class Record:
    """What is measured, and how.

    Attributes:
        name: of the row and its page.
        recipe: that is trained.
        aim: nats to be reached.
        budget: what training may take.
        samples: K of the estimate.
        images: test images, drawn by the seed of the evaluation; None for all.
        more: what else `unveil train` is given.
        defensive: share of the draws that do not come from the encoder, for what it misses.
        device: what computes.
    """

    name: str
    recipe: str
    aim: float
    budget: str
    samples: int
    images: int | None = None
    more: tuple[str, ...] = ()
    defensive: float = 0.0
    device: str = "cpu"

    def _device(self) -> list[str]:
        return [] if self.device == "cpu" else ["--device", self.device]

    def train(self, seed: object) -> list[str]:
        """What `unveil` is given to train it."""
        out = f"{self.name}-{seed}"
        return ["train", "mnist", "--recipe", self.recipe, *self.more, "--seed", str(seed), *self._device(), "--out", out]

    def evaluate(self, seed: object) -> list[str]:
        """What `unveil` is given to evaluate it."""
        some = [] if self.images is None else ["--images", str(self.images)]
        share = ["--defensive", str(self.defensive)] if self.defensive else []
        return ["evaluate", f"{self.name}-{seed}", "--samples", str(self.samples), *some, *share, *self._device()]

    def row(self, figures: str, lasted: str, machine: str) -> str:
        """A line of the table, which leads to the details where there are any."""
        name = f"[`{self.recipe}`](records/{self.name}.md)" if lasted else f"`{self.recipe}`"
        images = "10,000" if self.images is None else f"{self.images:,}"
        cells = [name, figures, f"{self.samples:,}", images, f"{self.aim:.1f}", lasted, self.budget, machine]
        return f"| {' | '.join(cells)} | `unveil {' '.join(self.train('SEED'))}` |"

    def empty(self) -> str:
        """The line of what nobody has measured."""
        if self.device == "cpu":
            return self.row(NOT_YET, "", "2 cores")
        return self.row(NO_MACHINE, "", "one H200")


GPU: dict[str, Any] = {"device": "cuda", "samples": 1_000}
LONG, WEIGHTED = ("--epochs", "400"), ("--model.samples", "5", "--epochs", "36")
ALL = (
    Record("mnist-2d", "mnist-2d", 130.0, "5 min on 2 cores", 5_000, more=WEIGHTED, defensive=0.5),
    Record("mnist", "mnist", 85.5, "6 min on 2 cores", 5_000),
    Record("iwae-50", "iwae-50", 85.5, "60 min on 2 cores", 5_000),
    Record("mnist-flow", "mnist-flow", 83.5, "20 min on 2 cores", 5_000),
    Record("mnist-conv", "mnist-conv", 81.5, "90 min on 2 cores", 500, 1_000),
    Record("mnist-conv-gpu", "mnist-conv", 79.0, "10 min on one H200", more=(*LONG, "--batch-size", "400"), **GPU),
    Record("mnist-ladder", "mnist-ladder", 78.0, "9 min on one H200", **GPU),
    Record("mnist-ladder-long", "mnist-ladder", 77.0, "18 min on one H200", more=LONG, **GPU),
)


@dataclass(frozen=True)
class Found:
    """What a seed came to.

    Attributes:
        report: its report card.
        seconds: that training took, by timing.jsonl.
        records: the last ones of metrics.jsonl.
        said: what the terminal said of the training, last; none where nobody kept it.
        machine: on which it was trained.
    """

    report: Report
    seconds: float
    records: list[dict[str, Any]]
    said: list[str]
    machine: str


def machine_of(device: str) -> str:
    """What computes here, in words."""
    import torch

    from unveil.training.precision import resolve

    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    kind = resolve("auto", torch.device("cpu"))
    return f"{torch.get_num_threads()} cores of {names[0] if names else 'a CPU'}, {kind}, torch {torch.__version__}"


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").replace("\r", "\n").splitlines() if path.is_file() else []


def measured(record: Record, seed: int, runs: Path, data_dir: str | None) -> Found:
    """Train and evaluate one seed, but for what is done already."""
    path = runs / f"{record.name}-{seed}"
    log, data = path.with_suffix(".log"), [] if data_dir is None else ["--data-dir", str(Path(data_dir).resolve())]
    if _status(path) != "finished":
        with log.open("a") as kept:
            kept.write(f"{machine_of(record.device)}\n")
        _call([*record.train(seed), *data, *(["--resume"] if path.exists() else [])], runs, log)
    if (report := _report(record, path)) is None:
        _call([*record.evaluate(seed), *data], runs, path.with_suffix(".evaluated"))
        report = _report(record, path)
        assert report is not None
    folder, (machine, *said) = RunFolder(path), _lines(log) or [""]
    seconds = folder.lines("timing.jsonl")[-1]["seconds"]
    return Found(report, seconds, folder.lines("metrics.jsonl")[-RECORDS:], said[-LINES:], machine or "not recorded")


def _status(path: Path) -> str:
    return RunFolder(path).manifest()["status"] if (path / "run.json").is_file() else ""


def _report(record: Record, path: Path) -> Report | None:
    """The report card of a run, if it is what the table says of it."""
    try:
        report = opened(path).report()
    except RunError:
        return None
    nats, images = report.nats, record.images or 10_000
    wanted = ("mnist", "test", images, record.samples, record.defensive, 0, "float32")
    said = (nats.data, nats.split, nats.distortion.n, nats.samples, nats.defensive, nats.seed, nats.precision)
    return report if said == wanted else None


def _call(command: Sequence[str], runs: Path, log: Path) -> None:
    """Have a process of its own do what a user would type, and keep what it says."""
    print(f"unveil {' '.join(command)}", flush=True)
    with log.open("a") as kept:
        done = subprocess.run([sys.executable, "-m", "unveil", *command], cwd=runs, stdout=kept, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"unveil {command[0]} ended with {done.returncode}: {(_lines(log) or ['?'])[-1]}")


def row_of(record: Record, found: Sequence[Found]) -> str:
    """The line of what was measured."""
    figures = [f"{one.report.nll.value:.2f} ± {one.report.nll.stderr:.2f}" for one in found if one.report.nll]
    lasted = f"{', '.join(f'{one.seconds:,.0f}' for one in found)} s"
    return record.row(", ".join(figures), lasted, "; ".join(dict.fromkeys(one.machine for one in found)))


def details(record: Record, found: Sequence[Found]) -> str:
    """The page of a row."""
    text = [f"# {record.name}", f"A row of [records.md](../records.md), written by `./run bench records {record.name}`."]
    for seed, one in enumerate(found):
        told = "\n".join(one.said) or "(nobody kept it)"
        records = "\n".join(json.dumps(each) for each in one.records)
        text += [
            f"## Seed {seed}",
            f"Trained in {one.seconds:,.0f} s on {one.machine}.",
            _block(f"unveil {' '.join(record.train(seed))}\nunveil {' '.join(record.evaluate(seed))}"),
            f"What the terminal said last while it trained:\n\n{_block(told)}",
            f"The last records of its metrics.jsonl:\n\n{_block(records)}",
            f"Its report card:\n\n{_block(str(one.report))}",
        ]
    return "\n\n".join(text) + "\n"


def _block(text: str) -> str:
    return f"```\n{text}\n```"


def table(old: str, new: dict[str, str]) -> str:
    """The table with `new` rows by name; of the others those that stand in the `old` one for the same command stay."""
    kept = {line.split("|")[-2]: line for line in old.splitlines() if line.count("|") > 8}
    lines = (new.get(one.name) or kept.get(one.empty().split("|")[-2]) or one.empty() for one in ALL)
    return "\n".join([HEAD, *lines])


def main() -> None:
    """Measure what was asked for, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", choices=[one.name for one in ALL])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-dir", default=os.environ.get("UNVEIL_DATA"))
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--write", action="store_true", help="put the row into docs/records.md")
    given = parser.parse_args()
    runs = given.runs or Path(tempfile.mkdtemp(prefix="unveil-records-"))
    runs.mkdir(parents=True, exist_ok=True)
    print(f"runs in {runs}")
    for record in (one for one in ALL if one.name in given.names):
        found = [measured(record, seed, runs, given.data_dir) for seed in range(given.seeds)]
        print(f"{HEAD}\n{row_of(record, found)}", flush=True)
        if given.write:
            DETAILS.mkdir(exist_ok=True)
            (DETAILS / f"{record.name}.md").write_text(details(record, found), encoding="utf-8")
            page.write("records", table(page.read("records", PAGE), {record.name: row_of(record, found)}), PAGE)


if __name__ == "__main__":
    main()
