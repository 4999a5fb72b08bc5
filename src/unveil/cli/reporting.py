"""The command that writes a run down as a page to read and to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from unveil.cli.common import apart, command, ending, open_run, start, trained_on
from unveil.cli.parsing import parse
from unveil.errors import DataError

if TYPE_CHECKING:
    from unveil.pages.shown import Shown
    from unveil.run import Run


@dataclass(frozen=True)
class Report:
    """Write a run down as one HTML page, to read or to print: its pictures, its report card, and how it was made.

    Attributes:
        run: a run folder.
        data: what to draw; without it, what the run was trained on.
        out: a .html file.
        no_data: leave out the pictures that show data: reconstructions, test examples in the latent plane, columns.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path = Path("report.html")
    no_data: bool = False
    data_dir: Path | None = None


def report(arguments: list[str]) -> int:
    """`unveil report`."""
    given = parse(Report, "report", arguments)
    start()
    import unveil
    from unveil.pages import facts
    from unveil.pages.still import page
    from unveil.store import write

    ending(given.out, (".html",))
    run = unveil.open(given.run)
    apart(given.out, given.data, *trained_on(run))
    found = facts(run)
    pictures, left_out = _pictures(run, given)
    write(given.out, page(found, pictures, left_out).encode())
    print(f"the report is in {given.out}{f'; {left_out}' if left_out else ''}")
    if found.unevaluated:
        print(f"it has no figures; `{command()} evaluate {given.run}` gives them")
    return 0


def _pictures(run: Run, given: Report) -> tuple[list[Shown], str]:
    """What there is to see, and why pictures with data are missing where they are."""
    from unveil.pages.shown import with_data, without_data

    if given.no_data:
        return without_data(run), "Pictures that show data are left out, as was asked for."
    if given.data is not None:
        return with_data(*open_run(given.run, given.data, given.data_dir)), ""
    try:
        return with_data(run, run.load_data(given.data_dir)), ""
    except DataError as error:
        hint = f"`{command()} report RUN DATA` takes them from elsewhere"
        return without_data(run), f"Pictures that show data are left out: {error}; {hint}."
