"""Commands that say how good a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import apart, ending, open_run, start
from unveil.cli.parsing import parse
from unveil.errors import SettingError

if TYPE_CHECKING:
    from unveil.evaluation import Report
    from unveil.evaluation.likelihood.contender import Contender


def evaluate(arguments: list[str]) -> int:
    """`unveil evaluate`."""
    given = parse(options.Evaluate, "evaluate", arguments)
    start()
    from unveil.cli.progress import EvaluationBar
    from unveil.evaluation import SECTIONS
    from unveil.evaluation.report import require
    from unveil.preflight import threads
    from unveil.store import write_json
    from unveil.training.precision import device_for

    if given.threads < 0:
        raise SettingError(f"{given.threads} threads cannot run; give 0 for as many as torch takes")
    also = tuple(SECTIONS) if "all" in given.also else given.also
    require(also)
    device = device_for(given.device)
    if given.out is not None:
        ending(given.out, (".json",))
        apart(given.out, given.data)
        if Path(given.run).resolve() in given.out.resolve().parents:
            raise SettingError(f"{given.out} would lie among the files of the run; give an --out beside that folder")
    run, data = open_run(given.run, given.data, given.data_dir, given.out)
    run.model.to(device)
    with threads(given.threads):
        found = run.evaluate(
            data,
            split=given.split,
            samples=given.samples,
            images=given.images,
            seed=given.seed,
            also=also,
            defensive=given.defensive,
            watcher=EvaluationBar(),
        )
    show(found)
    if given.out is not None:
        write_json(given.out, found.as_dict())
    places = [str(place) for place in (found.kept, given.out) if place is not None]
    if places:
        print(f"also in {' and '.join(places)}")
    return 0


def compare(arguments: list[str]) -> int:
    """`unveil compare`."""
    given = parse(options.Compare, "compare", arguments)
    start()
    from unveil.evaluation.likelihood.compare import compare as compared

    found = compared([_contender(path, given.figure) for path in given.runs], pairs=given.pairs, level=given.level)
    lines("", found.table(), found.advice())
    return 0


def _contender(run: str, figure: str) -> Contender:
    """Of a run by its report, or of one of its other reports."""
    import unveil
    from unveil.remote import is_address

    path = Path(run)
    if is_address(run) or path.suffix != ".json":
        return unveil.open(run).contender(figure)
    if not (path.parent / "run.json").is_file():
        raise SettingError(f"{path} has no values of images beside it; give the RUN/{path.name} that unveil evaluate named")
    return unveil.open(path.parent).contender(figure, path.stem)


def show(found: Report) -> None:
    """The figures, each with what it is, and what they suggest."""
    print(found)


def lines(title: str, table: list[tuple[str, str]], advice: list[str]) -> None:
    """A table under its title, and what it suggests."""
    from unveil.evaluation.telling import told

    for line in told(title, table, advice):
        print(line)
