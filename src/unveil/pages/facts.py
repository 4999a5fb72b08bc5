"""Everything a page says of a run in words and numbers, gathered once as plain data; `as_dict` gives it as JSON.

Figures are written as the report's own tables write them: `Row.text` is theirs, and nothing here knows how a number is
rounded. All of it comes from the run folder, so that it says what the terminal said; texts are as the files have them, and
whoever puts them on a page escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from unveil.data.facts import short
from unveil.errors import RunError
from unveil.evaluation import Report
from unveil.evaluation.latent.space import COLLAPSED, LatentSpace
from unveil.pages.card import Row, Sheet, sheets
from unveil.pages.making import Command, commands
from unveil.pages.parts import Parts, parts
from unveil.recipes import RECIPES
from unveil.run import Run
from unveil.store.files import plain

CURVES = {"neg_elbo": "-ELBO", "distortion": "distortion", "rate": "rate"}
"""What training records, and what it is called."""


@dataclass(frozen=True)
class Recipe:
    """How the model was made and trained.

    Attributes:
        name: of the recipe, 'custom' for a model of one's own.
        summary: in one line, and `source` where it is from; empty for a model of one's own.
        settings: the recipe's own, by name; empty where the run does not say.
        training: how it was trained, by name.
    """

    name: str
    summary: str
    source: str
    settings: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class Data:
    """What the model was trained on.

    Attributes:
        name: what `unveil.load` was asked for, or what it was called in memory.
        measure: how x is read, and `shape` its shape.
        rows: of each split.
        fingerprint: SHA-256 over values and labels.
        attribution: whose data they are, and under which licence; empty where unknown.
        classes: names of the labels; empty where they are but numbers, or none.
        columns: of a table, their names.
    """

    name: str
    measure: str
    shape: tuple[int, ...]
    rows: dict[str, int]
    fingerprint: str
    attribution: str
    classes: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """A figure that was recorded after each epoch.

    Attributes:
        key: in metrics.jsonl, and `name` for a person.
        unit: of its values.
        epochs: at which there is one.
        training: mean over the epoch's steps; None where it is no number.
        validation: of the averaged weights on the validation split; None where nobody looked.
    """

    key: str
    name: str
    unit: str
    epochs: tuple[int, ...]
    training: tuple[float | None, ...]
    validation: tuple[float | None, ...]


@dataclass(frozen=True)
class Dimension:
    """What one dimension of z carries.

    Attributes:
        index: of the dimension, from 0.
        rate: its KL in nats, and `stderr` the standard error; None where the dimension has none of its own.
        text: the rate as a report writes it.
        collapsed: whether it carries next to nothing.
    """

    index: int
    rate: float | None
    stderr: float | None
    text: str
    collapsed: bool


@dataclass(frozen=True)
class Facts:
    """What is known of a run.

    Attributes:
        title: recipe and data in a few words.
        status: 'finished', 'interrupted' or 'diverged', as run.json says.
        recipe: how it was made and trained.
        data: what it was trained on.
        model: its parts and their sizes.
        outcome: steps, the best validation loss and where, by name.
        seconds: how long training took; None where it is not known.
        machine: precision, threads, platform and versions, by name.
        sheets: the report card: a table of figures each, the nats first; empty where it was not evaluated.
        unevaluated: why there is no report card; empty where there is one.
        refused: why a section that was asked for is missing, by name.
        curves: of training.
        dimensions: of z by falling rate; empty where the report has no section 'latent'.
        commands: what to type to have it again.
        notes: what a reader should know of the run besides.
    """

    title: str
    status: str
    recipe: Recipe
    data: Data
    model: Parts
    outcome: dict[str, Any]
    seconds: float | None
    machine: dict[str, Any]
    sheets: tuple[Sheet, ...]
    unevaluated: str
    refused: dict[str, str]
    curves: tuple[Curve, ...]
    dimensions: tuple[Dimension, ...]
    commands: tuple[Command, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; None for numbers that are not finite."""
        whole: dict[str, Any] = plain(asdict(self))
        return whole

    def rows(self) -> list[Row]:
        """All rows of the report card, in order."""
        return [row for sheet in self.sheets for row in sheet.rows]


def facts(run: Run) -> Facts:
    """What is known of a run.

    Raises:
        RunError: its folder is damaged.
    """
    manifest = run.manifest
    report, unevaluated = _report(run)
    data = _data(manifest["data"])
    name = str(manifest.get("recipe", "custom"))
    lines = run.timing()
    return Facts(
        title=f"{name} on {short(data.name)}" if name != data.name else name,
        status=str(manifest.get("status", "")),
        recipe=_recipe(name, manifest),
        data=data,
        model=parts(run),
        outcome=dict(_record(manifest, "outcome")),
        seconds=_number(lines[-1].get("seconds")) if lines else None,
        machine=_machine(manifest),
        sheets=sheets(report),
        unevaluated=unevaluated,
        refused={} if report is None else dict(report.refused),
        curves=_curves(run.metrics()),
        dimensions=_dimensions(report),
        commands=commands(run, report),
        notes=tuple(map(str, manifest.get("notes", ()))),
    )


def _report(run: Run) -> tuple[Report | None, str]:
    """The report card, or why there is none."""
    try:
        return run.report(), ""
    except RunError as error:
        return None, str(error).replace(str(run.path), run.short_name)


def _record(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name, {})
    if not isinstance(found, dict):
        raise RunError(f"run.json is damaged: {name} is no record")
    return found


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    return float(value) if type(value) in (int, float) and isfinite(value) else None


def _recipe(name: str, manifest: Mapping[str, Any]) -> Recipe:
    known = RECIPES.get(name)
    about = ("", "") if known is None else (known.summary, known.source)
    return Recipe(name, *about, _record(manifest, "settings"), _record(manifest, "training"))


def _data(said: Mapping[str, Any]) -> Data:
    rows = {str(name): count for name, count in _record(said, "rows").items() if type(count) is int}
    columns = tuple(str(one.get("name", "")) for one in said.get("columns", ()) if isinstance(one, dict))
    return Data(
        name=short(str(said.get("name", ""))),
        measure=str(said.get("measure", "")),
        shape=tuple(said.get("shape", ())),
        rows=rows,
        fingerprint=str(said.get("fingerprint", "")),
        attribution=str(said.get("attribution", "")),
        classes=tuple(map(str, said.get("class_names", ()))),
        columns=columns,
    )


def _machine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: manifest[name] for name in ("precision", "threads", "ranks", "platform") if name in manifest}
    return {**own, "versions": _record(manifest, "versions")}


def _curves(records: list[dict[str, Any]]) -> tuple[Curve, ...]:
    found = []
    kept = [record for record in records if type(record.get("epoch")) is int]
    for key, name in CURVES.items():
        training = tuple(_number(record.get(key)) for record in kept)
        validation = tuple(_number(_record(record, "validation").get(key)) for record in kept)
        if any(value is not None for value in (*training, *validation)):
            epochs = tuple(record["epoch"] for record in kept)
            found.append(Curve(key, name, "nats per example", epochs, training, validation))
    return tuple(found)


def _dimensions(report: Report | None) -> tuple[Dimension, ...]:
    section = None if report is None else report.sections.get("latent")
    if not isinstance(section, LatentSpace):
        return ()
    return tuple(
        Dimension(unit.index, None, None, "", False)
        if unit.rate is None
        else Dimension(unit.index, unit.rate.value, unit.rate.stderr, str(unit.rate), unit.rate.value < COLLAPSED)
        for unit in section.units
    )
