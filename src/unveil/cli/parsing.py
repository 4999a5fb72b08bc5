"""From what a person typed to the options of a command; what cannot be read becomes one line."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import field, make_dataclass, replace
from itertools import dropwhile, takewhile
from typing import Any, TypeVar

import tyro

from unveil.cli.options import Train
from unveil.errors import SettingError
from unveil.recipes import Recipe, default_recipe, recipe

Options = TypeVar("Options")


def parse(kind: type[Options], name: str, arguments: list[str], default: Options | None = None) -> Options:
    """The options of a command from its arguments; prints help and exits, or raises SettingError."""
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    options: dict[str, Any] = {"prog": f"unveil {name}", "args": arguments, "config": config}
    if default is not None:
        options["default"] = default
    said, helped = io.StringIO(), io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding)  # by which boxes are drawn
    try:
        with redirect_stderr(said), redirect_stdout(helped):
            found: Options = tyro.cli(kind, **options)
            return found
    except SystemExit as end:
        if end.code in (0, None):
            helped.seek(0)
            print(_without_nothing(helped.read()), end="")
            raise
        raise SettingError(f"{_one_line(said.getvalue())}; unveil {name} --help tells what it takes") from None


def parse_train(arguments: list[str], proposed: Recipe | None = None) -> tuple[Train, Recipe]:
    """The options of `unveil train`, whose defaults and `--model` settings are those of the recipe, or as proposed."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe", default=None)
    try:
        name = scan.parse_known_args(arguments)[0].recipe
    except argparse.ArgumentError:
        name = None  # tyro says it better
    chosen = proposed or recipe(name or default_recipe(parse(Train, "train", _plain(arguments)).data or ""))
    kind = make_dataclass(
        "Train", [("model", type(chosen.model), field(default=chosen.model))], bases=(Train,), frozen=True
    )
    kind.__doc__ = Train.__doc__
    given = parse(kind, "train", arguments, kind(recipe=name, training=chosen.training))
    return given, replace(chosen, model=given.model, training=given.training)


def _plain(arguments: list[str]) -> list[str]:
    """Without a wish for help, which is answered when the recipe is known."""
    return [argument for argument in arguments if argument not in ("--help", "-h")]


def _without_nothing(text: str) -> str:
    """Help without the defaults that tell nothing: what happens without an option stands in words before them."""
    blank = re.sub(NOTHING, lambda found: re.sub(r"[^\n│]", " ", found[0]), text)
    pairs = zip(text.splitlines(), blank.splitlines(), strict=True)
    return "".join(f"{new}\n" for old, new in pairs if new == old or new.strip("│ "))


def _one_line(box: str) -> str:
    """What tyro says in a box of several lines, in our words where it has some of Python's."""
    # a terminal without such signs gets a title over a line of hyphens in their place
    shown = dropwhile(lambda line: not line.startswith(_RULES), (line.strip("│ ") for line in box.splitlines()))
    lines = [line for line in shown if line and line[0] not in "╭╰"]
    lines = lines[1:] if lines and lines[0].startswith(_RULES) else lines
    inside = list(takewhile(lambda line: not line.startswith(_RULES), lines))
    text = " ".join(filter(None, inside)).removesuffix(".")
    for pattern, said in PLAINLY:
        if (found := re.search(pattern, text)) is not None:
            return said(*found.groups()) + _meant(lines[len(inside) :])
    return re.sub(r"^Error parsing [\w-]+: ", "", text) or "these arguments cannot be read"


def _cannot(name: str, kind: str, given: str) -> str:
    """That an option cannot be what was given, and of which kind it is."""
    words = {"INT": "a whole number", "FLOAT": "a number"}
    takes = words.get(kind.removeprefix("{None}|"), "whole numbers" if "INT" in kind else "numbers")
    return f"{name} cannot be {' '.join(re.findall(_QUOTED, given))!r}; it takes {takes}"


def _one_of(given: str, name: str, known: str) -> str:
    """That an option cannot be what was given, and what it can be."""
    return f"{name} cannot be {given!r}; it takes {', '.join(sorted(set(re.findall(_QUOTED, known)) - {'None'}))}"


def _meant(below: list[str]) -> str:
    """What tyro thinks that was meant, below its first lines."""
    if "Perhaps you meant:" not in below:
        return ""
    near = next((line.split()[0] for line in below if re.match("--[a-z]", line)), None)
    return f" (did you mean {near}?)" if near else ""


NOTHING = r"\(default:(?:[ │]*\n[ │]*| )(?:None|False)?\)"
"""A default that is nothing at all, though it be cut by the end of a line."""
_RULES = ("╭", "──", "---")
_QUOTED = r"'([^']*)'"
PLAINLY: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"Error parsing (\S+): no type matching (.+?) could be instantiated from (\[.*?\])", _cannot),
    (
        r"Error parsing (\S+): invalid literal for (int)\(\) with base 10: (.*)",
        lambda name, _, given: _cannot(name, "INT", given),
    ),
    (
        r"Error parsing (\S+): could not convert string to (float): (.*)",
        lambda name, _, given: _cannot(name, "FLOAT", given),
    ),
    (r"invalid choice '(.*?)' for argument '(.*?)'\. Expected one of (.*)", _one_of),
    (r"Missing value for argument '(.*?)'", lambda name: f"{name} needs a value"),
    (r"Unrecognized options: (.*)", lambda given: f"there is no option or place for {given.replace(', ', ' ')}"),
    (
        r"Missing from unveil \S+: (\S+) (.*?) ?\(required\)",
        lambda name, what: f"{name} is missing: {what.removesuffix('.')}",
    ),
)
"""What tyro says in words of Python's, and how a person would."""
