"""Commands that look for what is wrong: with a run or data, and with a model's mathematics."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import introduce, start
from unveil.cli.numbers import lines
from unveil.cli.parsing import parse
from unveil.errors import SettingError
from unveil.recipes import RECIPES, recipe

if TYPE_CHECKING:
    from unveil.data import Dataset
    from unveil.doctor import Finding
    from unveil.models import Model
    from unveil.objectives import Term
    from unveil.run import Run

FOUND = 1
"""The exit code where something is wrong."""


def doctor(arguments: list[str]) -> int:
    """`unveil doctor`."""
    given = parse(options.Doctor, "doctor", arguments)
    start()
    import unveil
    from unveil.data.load import NAMED, is_run
    from unveil.doctor import examine_data
    from unveil.opening import is_shipped
    from unveil.remote import is_address

    # any other folder is one of images; where data and a model that comes along share a name, it is the data's
    named = is_address(given.what) or (given.what not in NAMED and is_shipped(given.what))
    if named or is_run(Path(given.what)):
        found = _of_run(unveil.open(given.what), given)
    else:
        data = unveil.load(given.what, data_dir=given.data_dir, measure=given.measure)
        introduce(data)
        found = examine_data(data)
    for finding in found:
        print(finding)
    if not found:
        print("nothing was found")
    return FOUND if any(finding.severity == "wrong" for finding in found) else 0


def _of_run(run: Run, given: options.Doctor) -> list[Finding]:
    """What is wrong with a run and its data, or with its records alone where the data were in memory and are gone."""
    from unveil.doctor import examine_data, examine_records, examine_run

    facts = run.manifest["data"]
    if not facts["loadable"]:
        print(f"{given.what}, trained on {facts['name']} in memory: looking at its weights and metrics alone")
        print("  to have the data looked at, hand them over in Python: unveil.doctor.examine_run(run, data)")
        return examine_records(run)
    data = run.load_data(given.data_dir)
    print(f"{given.what}, trained on {data}")
    return [*examine_run(run, data, given.seed), *examine_data(data)]


def verify(arguments: list[str]) -> int:
    """`unveil verify`."""
    given = parse(options.Verify, "verify", arguments)
    start()
    import unveil
    from unveil.remote import is_address
    from unveil.verify import verify

    data: Dataset | None
    if is_address(given.model) or Path(given.model).is_dir():
        run = unveil.open(given.model)
        model, objective, data = run.model, run.objective, run.load_data(given.data_dir)
    else:
        data = unveil.load(given.data, data_dir=given.data_dir, measure=given.measure)
        model, objective, data = _composed(given.model, data)
    verdict = verify(model, objective, data, seed=given.seed)
    shown = verdict.table()
    if not given.all:
        shown = [row for row in shown if not row[1].startswith("passed")]
    lines("", shown, verdict.advice())
    return 0 if verdict.holds else FOUND


def _composed(name: str, data: Dataset) -> tuple[Model, Term, Dataset]:
    """Model and objective of a recipe, or of a function that the person names and wants called."""
    if ":" not in name:
        if name not in RECIPES:
            raise SettingError(f"{name} is no run folder, no recipe, and no MODULE:FUNCTION; unveil recipes lists recipes")
        chosen = recipe(name)
        seen = chosen.prepare(data)
        return (*chosen.compose(seen), seen)
    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(import_module(module), function)(data)
        model, objective = made
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"{name} gives no model and objective for data ({reason}); let it return both") from None
    finally:
        sys.path.pop(0)
    return model, objective, data
