"""From what a person typed to the options of a command; what cannot be read becomes one line."""

from __future__ import annotations

import argparse
import io
import re
from contextlib import redirect_stderr
from dataclasses import field, make_dataclass, replace
from itertools import takewhile
from typing import Any, TypeVar

import tyro

from unveil.cli.options import Train
from unveil.errors import SettingError
from unveil.recipes import Recipe, default_recipe, recipe

Options = TypeVar("Options")


def parse(kind: type[Options], name: str, arguments: list[str], default: Options | None = None) -> Options:
    """The options of a command from its arguments; prints help and exits, or raises SettingError."""
    options: dict[str, Any] = {"prog": f"unveil {name}", "args": arguments, "config": (tyro.conf.FlagCreatePairsOff,)}
    if default is not None:
        options["default"] = default
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            found: Options = tyro.cli(kind, **options)
            return found
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise SettingError(f"{_one_line(said.getvalue())}; unveil {name} --help tells what it takes") from None


def parse_train(arguments: list[str]) -> tuple[Train, Recipe]:
    """The options of `unveil train`, whose defaults and `--model` settings are those of the recipe."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scan.add_argument("--recipe", default=None)
    try:
        name = scan.parse_known_args(arguments)[0].recipe
    except argparse.ArgumentError:
        name = None  # tyro says it better
    chosen = recipe(name or default_recipe(parse(Train, "train", _plain(arguments)).data))
    kind = make_dataclass(
        "Train", [("model", type(chosen.model), field(default=chosen.model))], bases=(Train,), frozen=True
    )
    kind.__doc__ = Train.__doc__
    given = parse(kind, "train", arguments, kind(recipe=name, training=chosen.training))
    return given, replace(chosen, model=given.model, training=given.training)


def _plain(arguments: list[str]) -> list[str]:
    """Without a wish for help, which is answered when the recipe is known."""
    return [argument for argument in arguments if argument not in ("--help", "-h")]


def _one_line(box: str) -> str:
    """What tyro says in a box of several lines."""
    lines = [line.strip("│ ") for line in box.splitlines()]
    inside = takewhile(lambda line: not line.startswith("──"), (line for line in lines if line[:1] not in ("╭", "╰", "")))
    text = " ".join(inside).removesuffix(".")
    return re.sub(r"^Error parsing [\w-]+: ", "", text) or "these arguments cannot be read"
