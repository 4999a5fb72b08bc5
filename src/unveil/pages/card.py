"""The report card as rows: what the report's own tables say, and beside each row the figure that its text begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from unveil.data.facts import short
from unveil.errors import RunError
from unveil.evaluation import Figure, Report


@dataclass(frozen=True)
class Row:
    """A figure of the report card.

    Attributes:
        name: what it is, without indentation, and `depth` how far it stands in below the one above.
        text: as the report writes it, with error, unit and n.
        value: the number alone, with its standard error, n and unit; None where the row is no single figure.
    """

    name: str
    depth: int
    text: str
    value: float | None = None
    stderr: float | None = None
    n: int | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Sheet:
    """A section of the report card: its rows, and a sentence each that a reader should know."""

    key: str
    title: str
    about: str
    rows: tuple[Row, ...]
    advice: tuple[str, ...]


TITLES = {
    "nats": "How good it is, in nats",
    "quadrature": "The exact integral",
    "annealing": "Annealed importance sampling",
    "sandwich": "Bounds from both sides",
    "gaps": "What the encoder misses",
    "aggregate": "The rate, taken apart",
    "latent": "The latent space",
    "factors": "Factors of variation",
    "samples": "Quality of samples",
    "memory": "Copies of training examples",
}
"""What sections are called on a page."""


def sheets(report: Report | None) -> tuple[Sheet, ...]:
    """The report card, the nats first; empty without a report.

    Raises:
        RunError: the records contradict themselves, so that no table can be made of them.
    """
    if report is None:
        return ()
    nats = report.nats
    read = "" if nats.read_by is None else f", read by seed {nats.read_by}"
    about = f"{short(nats.data)}, {nats.split} split, {nats.measure} x{read}; draws by seed {nats.seed}, {nats.precision}"
    whole: dict[str, Any] = {"nats": nats, **report.sections}
    try:
        made = [_sheet(key, record, about if key == "nats" else "") for key, record in whole.items()]
        beside = tuple(report.advice())
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(f"report.json is damaged: {type(error).__name__} where its figures are written out") from None
    first = made[0]
    return (Sheet(first.key, first.title, first.about, first.rows, (*first.advice, *beside)), *made[1:])


def _sheet(key: str, record: Any, about: str) -> Sheet:
    figures = {text: figure for figure in figures_of(record) for text in (str(figure), figure.pair())}
    rows = tuple(_row(name, text, figures) for name, text in record.table())
    return Sheet(key, TITLES.get(key, key), about, rows, tuple(record.advice()))


def _row(name: str, text: str, figures: Mapping[str, Figure]) -> Row:
    """A row, and the figure whose own text it begins with: the longest such, since '1.0 ± 0.1' begins others."""
    begun = max((one for one in figures if text.startswith(one)), key=len, default=None)
    bare = name.lstrip()
    depth = int(bare != name)
    if begun is None:
        return Row(bare, depth, text)
    figure = figures[begun]
    return Row(bare, depth, text, figure.value, figure.stderr, figure.n, figure.unit)


def figures_of(record: Any) -> Iterator[Figure]:
    """Every figure in a record, however deep."""
    if isinstance(record, Figure):
        yield record
    elif is_dataclass(record):
        for field in fields(record):
            yield from figures_of(getattr(record, field.name))
    elif isinstance(record, tuple):
        for one in record:
            yield from figures_of(one)
