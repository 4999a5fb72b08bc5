"""The terminal face of one of several processes: the first of them speaks, and no line is said twice."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from unveil.errors import SettingError


def prepare(command: str) -> None:
    """Before `command` of several processes: all but the first are quiet.

    Raises:
        SettingError: a command that one process is enough for.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # what torch has to say of connections is said by us
    if os.environ.get("RANK") != "0":
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (until the process ends)
    if command != "train":
        raise SettingError(f"several processes can train a model, and `{command}` is for one; start it without torchrun")


def is_to_say() -> bool:
    """Whether an error is this process's to say. Where it is not, somebody is given the time to say it."""
    from unveil.training.ranks import joined
    from unveil.training.team import ALONE, GOING

    if joined() is not ALONE:
        return joined().speaks()
    first = os.environ.get("RANK", "0") == "0"
    if not first:
        time.sleep(GOING)  # whoever ends first may have the others ended
    return first
