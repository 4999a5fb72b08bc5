"""The command that turns a run into a page to move through."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from unveil.cli.common import apart, command, ending, open_run, start, trained_on
from unveil.cli.parsing import parse
from unveil.errors import DataError

if TYPE_CHECKING:
    from unveil.data import Dataset
    from unveil.run import Run


@dataclass(frozen=True)
class Explore:
    """Write a run as one HTML page to move through, which works offline from a file, and open it in the browser.

    Attributes:
        run: a run folder.
        data: whose test split is shown; without it, that of what the run was trained on.
        out: a .html file.
        no_data: leave out all examples of the data: points, pictures, and walks between them.
        no_open: write the page, and do not open it.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path = Path("explore.html")
    no_data: bool = False
    no_open: bool = False
    data_dir: Path | None = None


def explore(arguments: list[str]) -> int:
    """`unveil explore`."""
    given = parse(Explore, "explore", arguments)
    start()
    import unveil

    ending(given.out, (".html",))
    run = unveil.open(given.run)
    apart(given.out, given.data, *trained_on(run))
    write_out(run, given.out, None if given.no_data else _data(run, given))
    if not given.no_open and not webbrowser.open(given.out.resolve().as_uri()):
        print("no browser could be started here: open the file in one")
    return 0


def write_out(run: Run, out: Path, data: Dataset | None) -> None:
    """Write the page and say so."""
    from unveil.explorer import write_page

    size = write_page(run, out, data)
    print(f"the page is in {out}, {size / 1e6:.1f} MB; it works offline, and can be mailed or put on any host")


def examples(run: Run, data_dir: Path | None = None) -> Dataset | None:
    """What the run was trained on; None, and a line that says why, where it is not at hand."""
    try:
        return run.load_data(data_dir)
    except DataError as error:
        print(f"the page carries no examples: {error}; `{command()} explore RUN DATA` takes them from elsewhere")
        return None


def _data(run: Run, given: Explore) -> Dataset | None:
    if given.data is not None:
        return open_run(given.run, given.data, given.data_dir)[1]
    return examples(run, given.data_dir)
