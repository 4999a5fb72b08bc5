"""The commands that make a run again, told from what its run.json says.

Pages travel, so files and folders stand here by their last name alone: where they lie is nobody else's business.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from unveil.data.facts import homeless
from unveil.data.held import Held
from unveil.data.images.how import How
from unveil.data.load import NAMED
from unveil.data.mapped import File
from unveil.data.pick import Pick
from unveil.data.tables.table import How as TableHow
from unveil.evaluation import Report
from unveil.recipes import RECIPES
from unveil.run import Run

MEASURES = ("binary", "unit", "levels", "real", "count")
"""How x can be asked to be read."""
READING = {field.name for record in (How, File, Pick, TableHow, Held) for field in fields(record)}
"""How data can be asked to be read; what else a source has as its options it has by itself."""
PLACES = ("threads", "device", "workers", "timeout")
"""Settings of training that are about the machine."""


@dataclass(frozen=True)
class Command:
    """A line for the terminal, and what it does."""

    line: str
    purpose: str


def commands(run: Run, report: Report | None) -> tuple[Command, ...]:
    """What was typed, or what would do the same: training where a recipe made the model, and the evaluation."""
    found = []
    if trained := training_line(run):
        found.append(Command(trained, "trains such a model"))
    if report is not None:
        line = evaluation_line(report, run.short_name, run.manifest["data"].get("rows", {}))
        found.append(Command(line, "gives the figures"))
    return tuple(found)


def training_line(run: Run, places: bool = False) -> str:
    """`unveil train ...` with all that is other than the recipe's own; empty where no command can do it.

    Args:
        run: what is to be trained anew.
        places: whether to say where data lie on this machine, so that it can be typed here.
    """
    manifest, known = run.manifest, RECIPES.get(str(run.manifest.get("recipe")))
    facts, settings = manifest["data"] if places else homeless(manifest["data"]), manifest.get("settings")
    if known is None or not facts.get("loadable") or not isinstance(settings, dict):
        return ""
    words = ["unveil", "train", str(facts["name"]), "--recipe", known.name]
    if facts.get("measure") in MEASURES:
        words += ["--measure", str(facts["measure"])]
    own = facts["name"] in NAMED  # these are read in one way
    reading = {name: value for name, value in facts.get("options", {}).items() if name in READING and not own}
    for options, usual, prefix in (
        (reading, {}, ""),
        (manifest.get("training", {}), asdict(known.training), ""),
        (settings, asdict(known.model), "model."),
    ):
        words += _other(options, usual, prefix)
    return shlex.join(words)


def _other(given: Mapping[str, Any], usual: Mapping[str, Any], prefix: str) -> list[str]:
    words: list[str] = []
    for name, value in given.items():
        before = usual.get(name)
        before = list(before) if isinstance(before, tuple) else before
        if value == before or value is None or value in ([], {}) or name in PLACES:
            continue
        flag = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--{_negated(flag)}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return words


def _negated(flag: str) -> str:
    head, dot, tail = flag.rpartition(".")
    return f"{head}{dot}no-{tail}"


def evaluation_line(report: Report, place: str, rows: Mapping[str, int]) -> str:
    """`unveil evaluate ...` with all that is other than usual; `rows` says how many each split has."""
    nats = report.nats
    words = ["unveil", "evaluate"]
    also = [*report.sections, *report.refused]
    options = {
        "samples": nats.samples if nats.samples != 500 else None,
        "images": nats.distortion.n if nats.distortion.n != rows.get(nats.split) else None,
        "seed": nats.seed or None,
        "defensive": nats.defensive or None,
        "split": nats.split if nats.split != "test" else None,
    }
    given = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join([*words, place, *given, *(["--also", *also] if also else [])])
