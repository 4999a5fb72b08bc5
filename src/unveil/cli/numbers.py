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
    nats = found.nats
    print(f"{nats.data}, {nats.split} split, {nats.measure} x, seed {nats.seed}, {nats.precision}")
    lines("", nats.table(), nats.advice())
    for name, section in found.sections.items():
        lines(name, section.table(), section.advice())
    lines("", [], found.advice())
    for name, why in found.refused.items():
        print(f"{name}: none, since {why}")
    reached = "" if nats.matrix_share is None else f", {nats.matrix_share:.0%} of the machine's float32 matrix rate"
    print(f"the nats took {nats.seconds:.1f} s on {nats.threads} threads{reached}")


def lines(title: str, table: list[tuple[str, str]], advice: list[str]) -> None:
    """A table under its title, and what it suggests."""
    if title:
        print(f"\n{title}")
    width = max([28, *(len(name) + 2 for name, _ in table)])
    for name, figure in table:
        print(f"{name:{width}}{figure}")
    for sentence in advice:
        print(f"-> {sentence}")
