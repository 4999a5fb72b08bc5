"""Errors worth catching. Each message says what was given, why it cannot be and what to do, in one line.

Each is a `ValueError`, so that code which knows nothing of Unveil still catches it, and becomes one line and exit code 2 at
the terminal.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class UnveilError(ValueError):
    """The base of every error that Unveil raises on purpose."""


class DataError(UnveilError):
    """Data that cannot be read, or that contradict themselves."""


class SettingError(UnveilError):
    """A setting, a name or a composition of parts that cannot be."""


class ExportError(SettingError):
    """A model, or a function of it, that no fixed graph of operations computes."""


class RunError(UnveilError):
    """A run folder that is none, is damaged, is in use, or was written by a newer format."""


class HubError(RunError):
    """The Hugging Face Hub does not answer, refuses, or has no such model."""


class RankError(RunError):
    """A process of several that train together has ended or does not answer."""


class DivergedError(UnveilError):
    """Training led to losses or gradients that are not finite or have blown up, for an epoch or as often as it may.

    Attributes:
        outcome: how far it came, where the model has good weights from before; None where there are none.
    """

    outcome: Any = None


_at_terminal = False


@contextmanager
def at_terminal() -> Iterator[None]:
    """Within, messages name options as they are typed at a terminal, and not as arguments of Python."""
    global _at_terminal
    before, _at_terminal = _at_terminal, True
    try:
        yield
    finally:
        _at_terminal = before


def option(name: str, value: Any = None) -> str:
    """An option as whoever reads would give it: `size=(32, 32)` in Python, `--size 32 32` at the terminal.

    Args:
        name: of the argument.
        value: what to give it; None for its name alone.
    """
    if not _at_terminal:
        return name if value is None else f"{name}={value!r}"
    parts = () if value is None else value if isinstance(value, (tuple, list)) else (value,)
    return " ".join([f"--{name.replace('_', '-')}", *(shlex.quote(str(part)) for part in parts)])


def near(given: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None where none is near."""
    return next(iter(difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)), None)


def unknown(kind: str, given: str, known: Iterable[str], error: type[UnveilError] = SettingError) -> UnveilError:
    """The error for a name that is not known: it proposes the nearest one and lists the rest."""
    names = sorted(known)
    hint = f"did you mean {guess!r}? " if (guess := near(given, names)) else ""
    return error(f"there is no {kind} {given!r}; {hint}known: {', '.join(names)}")
