"""The command that looks at data before anything is trained on them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import apart, command, ending, introduce, load, start
from unveil.cli.numbers import lines
from unveil.cli.parsing import parse
from unveil.words import counted, number

if TYPE_CHECKING:
    from unveil.data import Dataset, Split

SHOWN = 64
"""Images on the sheet."""
ROWS = 2_000
"""Most rows of a split whose values are looked at, from all over it."""


CLASSES = 8
"""Most classes of a column that are listed."""


def inspect(arguments: list[str]) -> int:
    """`unveil inspect`."""
    given = parse(options.Inspect, "inspect", arguments)
    start()
    ending(given.out, (".png",))
    held = given.reading.held
    apart(given.out, given.data, held.validation, held.test)
    data = load(given.data, given.reading)
    introduce(data, bad=None)
    lines("", _table(data), [])
    if data.columns:
        lines("columns", _columns(data), [])
    if data.space.is_image:
        _draw(data, given)
    print(f"next: {command()} train {shlex.join(_without_out(arguments))}")
    return 0


def _without_out(arguments: list[str]) -> list[str]:
    """What was typed, but for the sheet's name, which is no option of `unveil train`'s."""
    before = ["", *arguments]
    return [
        one for one, last in zip(arguments, before, strict=False) if last != "--out" and one.partition("=")[0] != "--out"
    ]


def _table(data: Dataset) -> list[tuple[str, str]]:
    from unveil.parts import LIKELIHOODS
    from unveil.recipes import default_recipe

    rows = [(f"{name} split", _said(data, data.split(name))) for name in data.splits]
    rows.append(("space", str(data.space)))
    rows.append(("likelihood", LIKELIHOODS[data.space.measure][0]))
    rows.append(("recipe", default_recipe(data.name)))
    rows.append(("fingerprint", data.fingerprint[:12]))
    return rows


def _said(data: Dataset, split: Split) -> str:
    """How many rows, between which values, and how many of each class."""
    text = f"{len(split):,} x {tuple(split.values.shape[1:])}, stored {split.values.dtype}".replace("torch.", "")
    if data.space.measure == "columns":  # between them there is no mean
        text += f", {counted(int(split.values[:].isnan().sum()), 'cell')} missing" if split.gaps else ", none missing"
    else:
        values = split.values[:: -(-len(split) // ROWS)].float()
        low, high, mean = (float(one) for one in (values.min(), values.max(), values.mean()))
        text += f", from {number(low)} to {number(high)}, mean {number(mean, 3)}"
    if split.labels is None:
        return f"{text}; no labels"
    counts = split.labels.bincount(minlength=len(data.classes))
    named = data.classes or tuple(map(str, range(len(counts))))
    shown = ", ".join(f"{name} {count:,}" for name, count in list(zip(named, counts.tolist(), strict=True))[:12])
    return f"{text}; labels {shown}{', ...' if len(counts) > 12 else ''}"


def _columns(data: Dataset) -> list[tuple[str, str]]:
    """Each column's kind, what it holds, and what it lacks, in all rows."""
    whole = data.whole().values[:]
    rows = []
    for field, values in zip(data.columns, whole.T, strict=True):
        kind, known = field.kind.partition(":")[0], values[~values[:].isnan()].double()
        if field.words:
            counts = known.long().bincount(minlength=len(field.words)).tolist()
            shown = ", ".join(f"{word} {count:,}" for word, count in list(zip(field.words, counts, strict=True))[:CLASSES])
            classes = counted(len(field.words), "class", "classes")
            text = f"{kind}, {classes}: {shown}{', ...' if len(field.words) > CLASSES else ''}"
        else:
            low, high, mean = number(known.min()), number(known.max()), number(known.mean(), 4)
            text = f"{kind}, {low} to {high}, mean {mean}, standard deviation {number(known.std(), 3)}"
        missing = len(values) - len(known)
        rows.append((field.name, text + (f"; {missing:,} of {len(values):,} missing" if missing else "")))
    return rows


def _draw(data: Dataset, given: options.Inspect) -> None:
    from unveil import album
    from unveil.data import is_ink

    some = data.train.sample(SHOWN, 0)
    album.samples(some.reading.mean(some.values[:]) / data.space.white, given.out, ink=is_ink(data))
    print(f"{counted(len(some), 'image')} of the training split in {given.out}")
