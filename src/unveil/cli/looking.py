"""The command that looks at data before anything is trained on them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import apart, command, ending, introduce, load, start
from unveil.cli.numbers import lines
from unveil.cli.parsing import parse

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
    from unveil.recipes import default_recipe
    from unveil.recipes.recipe import likelihood_of

    rows = [(f"{name} split", _said(data, data.split(name))) for name in data.splits]
    rows.append(("space", str(data.space)))
    rows.append(("likelihood", type(likelihood_of(data)).__name__))
    rows.append(("recipe", default_recipe(data.name)))
    rows.append(("fingerprint", data.fingerprint[:12]))
    return rows


def _said(data: Dataset, split: Split) -> str:
    """How many rows, between which values, and how many of each class."""
    text = f"{len(split):,} x {tuple(split.values.shape[1:])}, stored {split.values.dtype}".replace("torch.", "")
    if data.space.measure == "columns":  # between them there is no mean
        text += f", {int(split.values[:].isnan().sum()):,} cells missing" if split.gaps else ", none missing"
    else:
        values = split.values[:: -(-len(split) // ROWS)].float()
        text += f", from {values.min():g} to {values.max():g}, mean {values.mean():.3g}"
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
            text = f"{kind}, {len(field.words)} classes: {shown}{', ...' if len(field.words) > CLASSES else ''}"
        else:
            text = f"{kind}, {known.min():.6g} to {known.max():.6g}, mean {known.mean():.4g} ± {known.std():.3g}"
        missing = len(values) - len(known)
        rows.append((field.name, text + (f"; {missing:,} of {len(values):,} missing" if missing else "")))
    return rows


def _draw(data: Dataset, given: options.Inspect) -> None:
    from unveil import album
    from unveil.data import is_ink

    some = data.train.sample(SHOWN, 0)
    album.samples(some.reading.mean(some.values[:]) / data.space.white, given.out, ink=is_ink(data))
    print(f"{len(some)} images of the training split in {given.out}")
