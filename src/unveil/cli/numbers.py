"""Commands that say how good a model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import open_run, start
from unveil.cli.parsing import parse
from unveil.errors import SettingError

if TYPE_CHECKING:
    from unveil.evaluation import Report


def evaluate(arguments: list[str]) -> int:
    """`unveil evaluate`."""
    given = parse(options.Evaluate, "evaluate", arguments)
    start()
    from unveil.cli.progress import EvaluationBar
    from unveil.evaluation import SECTIONS
    from unveil.evaluation.report import require
    from unveil.preflight import threads
    from unveil.training.precision import device_for

    if given.threads < 0:
        raise SettingError(f"{given.threads} threads cannot run; give 0 for as many as torch takes")
    also = tuple(SECTIONS) if "all" in given.also else given.also
    require(also)
    device = device_for(given.device)
    run, data = open_run(given.run, given.data, given.data_dir)
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
    if found.kept is not None:
        print(f"also in {found.kept}")
    return 0


def compare(arguments: list[str]) -> int:
    """`unveil compare`."""
    given = parse(options.Compare, "compare", arguments)
    start()
    import unveil
    from unveil.evaluation.likelihood.compare import compare as compared

    runs = [unveil.open(path) for path in given.runs]
    found = compared([run.contender(given.figure) for run in runs], pairs=given.pairs, level=given.level)
    lines("", found.table(), found.advice())
    return 0


def show(found: Report) -> None:
    """The figures, each with what it is, and what they suggest."""
    print(found)


def lines(title: str, table: list[tuple[str, str]], advice: list[str]) -> None:
    """A table under its title, and what it suggests."""
    from unveil.evaluation.telling import told

    for line in told(title, table, advice):
        print(line)
