"""What several commands do alike: the log as lines for a person, runs and data opened and matched, files written."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unveil.errors import DataError, SettingError

if TYPE_CHECKING:
    from unveil.cli.options import Reading
    from unveil.data import Dataset
    from unveil.run import Run

READ = ("", ".png", ".parquet")
"""Endings of what is written that are read where they lie in a folder of data."""
SHOWN = 3
"""Bad files that are named where not all are."""
CODES = {"SIGINT": 130, "SIGTERM": 143}
"""Exit codes after a signal, as shells give them: 128 and its number."""


def start() -> None:
    """Let what the library has to say reach the person as lines."""
    from unveil.cli.progress import Handler

    log = logging.getLogger("unveil")
    log.handlers[:] = [Handler(logging.INFO)]
    log.setLevel(logging.INFO)
    log.propagate = False


def command() -> str:
    """What the person calls this program."""
    return os.environ.get("UNVEIL_COMMAND", "unveil")


def introduce(data: Dataset, bad: int | None = SHOWN) -> None:
    """Say what data are, what a person should know of how they were read, and what was left out as bad.

    Args:
        data: what was read.
        bad: how many bad files to name; None for all.
    """
    print(data)
    for note in data.notes:
        print(f"  {note}")
    if data.bad:
        print(f"  bad files, left out: {len(data.bad):,}")
    for path, reason in data.bad[:bad]:
        print(f"    {path}: {reason}")
    if (more := len(data.bad) - len(data.bad[:bad])) > 0:
        print(f"    and {more:,} more, which {command()} inspect lists")


def open_run(
    path: str, data: str | None, data_dir: Path | None, *outs: Path | None, strangers: bool = False
) -> tuple[Run, Dataset]:
    """A run, and the data that it is to look at: those it was trained on, unless others are named.

    `outs` are no input; `strangers` as for `load_like`.
    """
    import unveil
    from unveil.data import load_like
    from unveil.preflight import check

    run = unveil.open(path)
    facts = run.manifest["data"]
    for out in outs:
        apart(out, data, *trained_on(run))
    found = run.load_data(data_dir) if data is None else load_like(data, facts, data_dir, strangers, not run.told)
    shape = tuple(facts["shape"])
    if found.space.shape != shape:
        raise DataError(f"the run reads x of shape {shape}, and {found.name} has {found.space.shape}; match the two")
    found = run.suited(found)
    check(run.model, found)
    return run, found


def load(source: str, how: Reading) -> Dataset:
    """Data that are to be trained on, read as was asked for."""
    import unveil

    records = (how.images, how.file, how.pick, how.table, how.held)
    given = {(field.name, field.default): getattr(one, field.name) for one in records for field in fields(one)}
    # what is left as it is goes unsaid, which any source takes
    asked = {name: value for (name, default), value in given.items() if value != default}
    return unveil.load(source, data_dir=how.data_dir, measure=how.measure, **asked)


def trained_on(run: Run) -> list[str | None]:
    """The files and folders that a run was trained on, and those that were held out."""
    facts = run.manifest["data"]
    options = facts.get("options", {})
    return [facts["name"] if facts["loadable"] else None, options.get("validation"), options.get("test")]


def apart(out: Path | None, *sources: str | float | None) -> None:
    """See that what is written takes the place of nothing that is read, and is not read with it the next time.

    Args:
        out: the file or folder that is to be written.
        sources: what is read; names that are no files are none.

    Raises:
        SettingError: it is one of the sources, by whatever path or link, or lies in one that is a folder.
    """
    for source in sources:
        path = Path(os.path.expanduser(str(source)))  # noqa: PTH111  leaves an unknown user's name as it is
        with suppress(OSError):
            if out is None or source is None or not path.exists():
                continue
            if out.resolve() == path.resolve() or (out.exists() and out.samefile(path)):
                raise SettingError(f"{out} is read here, and would be written over; give another --out")
            if path.is_dir() and out.suffix in READ and path.resolve() in out.resolve().parents:
                raise SettingError(f"{out} would lie among the data in {path}; give an --out beside that folder")


def ending(path: Path, known: tuple[str, ...]) -> str:
    """The ending of a file that is to be written."""
    if path.suffix not in known:
        endings = ", ".join(ending or "a folder" for ending in known)
        raise SettingError(f"nothing can be written as {path.name}; known endings: {endings}")
    return path.suffix


def save_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns, name to cells, as .csv or .parquet; None is a gap."""
    from unveil.store import write

    if path.suffix == ".csv":
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
        write(path, text.getvalue().encode())
        return
    buffer = io.BytesIO()
    pyarrow, parquet = require_parquet(path)
    parquet.write_table(pyarrow.table(dict(columns)), buffer)
    write(path, buffer.getvalue())


def require_parquet(path: Path) -> tuple[Any, Any]:
    """pyarrow, if `path` can be written with it: to be asked before the work."""
    if path.suffix != ".parquet":
        return None, None
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise SettingError("Parquet files need pyarrow, which is not installed; pip install it, or take .csv") from None
    return pyarrow, parquet


def save_array(path: Path, *array: object, **arrays: object) -> None:
    """Write one array as .npy, or several by name as .npz."""
    import numpy as np

    from unveil.store import write

    buffer = io.BytesIO()
    if arrays:
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
    else:
        np.save(buffer, array[0])  # type: ignore[arg-type]
    write(path, buffer.getvalue())
