"""The command that tries settings."""

from __future__ import annotations

from dataclasses import fields

from unveil.cli import options
from unveil.cli.common import CODES, introduce, load, start
from unveil.cli.parsing import parse
from unveil.cli.training import NO_DATA
from unveil.errors import SettingError


def tune(arguments: list[str]) -> int:
    """`unveil tune`."""
    given = parse(options.Tune, "tune", arguments)
    if given.data is None:
        raise SettingError(NO_DATA)
    start()
    from unveil.cli.progress import say
    from unveil.tuning import tune as tuned
    from unveil.tuning.study import require

    require()
    data = load(given.data, given.reading)
    introduce(data)
    asked = {one.name: getattr(given, one.name) for one in fields(given) if one.name not in ("data", "reading")}
    found = tuned(data, **asked, data_dir=given.reading.data_dir)
    if found.stopped_by is not None:
        say(f"stopped; what the trials have so far is saved in {found.path}, and the same command goes on")
        return CODES[found.stopped_by]
    print(found)
    return 0
