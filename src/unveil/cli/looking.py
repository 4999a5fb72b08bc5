"""The command that looks at data before anything is trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import asked, command, ending, start
from unveil.cli.numbers import lines
from unveil.cli.parsing import parse

if TYPE_CHECKING:
    from unveil.data import Dataset, Split

SHOWN = 64
"""Images on the sheet."""
ROWS = 2_000
"""Most rows of a split whose values are looked at, from all over it."""


def inspect(arguments: list[str]) -> int:
    """`unveil inspect`."""
    given = parse(options.Inspect, "inspect", arguments)
    start()
    import unveil

    ending(given.out, (".png",))
    data = unveil.load(given.data, data_dir=given.data_dir, measure=given.measure, **asked(given.images))
    print(data)
    for note in data.notes:
        print(f"  {note}")
    lines("", _table(data), [])
    for path, reason in data.bad:
        print(f"bad: {path}: {reason}")
    if data.space.is_image:
        _draw(data, given)
    print(f"next: {command()} train {given.data}")
    return 0


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
    values = split.values[:: -(-len(split) // ROWS)].float()
    text = f"{len(split):,} x {tuple(split.values.shape[1:])}, stored {split.values.dtype}".replace("torch.", "")
    text += f", from {values.min():g} to {values.max():g}, mean {values.mean():.3g}"
    if split.labels is None:
        return f"{text}; no labels"
    counts = split.labels.bincount(minlength=len(data.classes))
    named = data.classes or tuple(map(str, range(len(counts))))
    shown = ", ".join(f"{name} {count:,}" for name, count in list(zip(named, counts.tolist(), strict=True))[:12])
    return f"{text}; labels {shown}{', ...' if len(counts) > 12 else ''}"


def _draw(data: Dataset, given: options.Inspect) -> None:
    from unveil import album

    some = data.train.sample(SHOWN, 0)
    album.samples(some.reading.mean(some.values) / data.space.white, given.out)
    print(f"{len(some)} images of the training split in {given.out}")
