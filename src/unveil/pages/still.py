"""The still page: what a run is, what it makes of the data, and how good it is, as one HTML file to read and to print.

It holds no script and asks for nothing from anywhere: pictures travel inside as data.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unveil.evaluation.latent.space import COLLAPSED
from unveil.pages.card import Row, Sheet
from unveil.pages.facts import Dimension, Facts
from unveil.pages.look import SHEET
from unveil.pages.markup import Element, el, style, together
from unveil.pages.shown import Shown
from unveil.version import __version__
from unveil.words import counted, number

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for the page: what is in it."""


def page(found: Facts, pictures: Sequence[Shown], left_out: str = "") -> str:
    """The whole page.

    Args:
        found: what is known of the run.
        pictures: to show, in this order.
        left_out: why pictures with data are missing; empty where none are.
    """
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{found.title}: report"),
        style(SHEET),
    )
    main = el(
        "main",
        _pictures(found, pictures, left_out),
        _card(found),
        _dimensions(found.dimensions),
        _training(found),
        _model(found),
        _data(found),
        _again(found),
    )
    body = el("body", _header(found), main, el("footer", el("p", f"Made by Unveil {__version__}.")))
    return f"<!doctype html>\n{el('html', head, body, lang='en').markup}\n"


def _header(found: Facts) -> Element:
    own = "a composition of one's own" if found.recipe.name == "custom" else f"recipe {found.recipe.name}"
    state = "" if found.status in ("", "finished") else f" Training was {found.status}."
    return el(
        "header",
        el("h1", found.title),
        el("p", f"A variational autoencoder, {own}, trained on {found.data.name}.{state}", class_="soft"),
        *(el("p", note) for note in found.notes),
        el("dl", *(el("div", el("dt", name), el("dd", *value)) for name, value in _lead(found)), class_="lead"),
    )


def _lead(found: Facts) -> list[tuple[str, list[Element | str]]]:
    """What a reader looks for first."""
    size = " x ".join(map(str, found.model.latent)) or "1"
    own: list[tuple[str, list[Element | str]]] = [
        ("dimensions of z", [size]),
        ("parameters", [f"{found.model.parameters:,}"]),
    ]
    return [*((row.name, _split(row)) for row in _leading(found.sheets)), *own]


def _leading(sheets: Sequence[Sheet]) -> list[Row]:
    """The best that is known of -log p(x), by integral or by most draws, and the bound."""
    if not sheets:
        return []
    exact = [row for sheet in sheets if sheet.key == "quadrature" for row in sheet.rows[:1]]
    drawn = [row for row in sheets[0].rows if row.name.startswith("-log p(")]
    return [*(exact or drawn[-1:]), *sheets[0].rows[:1]]


def _split(row: Row) -> list[Element | str]:
    """The figure, and in small print n and whatever is said besides."""
    figure, gap, rest = row.text.partition(" (")
    return [figure, el("small", gap + rest)]


def _pictures(found: Facts, pictures: Sequence[Shown], left_out: str) -> Element:
    whose = f"Pictures show {found.data.name}: {found.data.attribution}." if found.data.attribution else ""
    return el(
        "section",
        el("h2", "What it has learnt to see"),
        el("p", left_out, class_="soft") if left_out else None,
        el("div", *_figures_of(pictures), class_="gallery") if pictures else None,
        el("p", whose, class_="soft") if whose and not left_out else None,
    )


def _figures_of(pictures: Sequence[Shown]) -> Iterable[Element]:
    """Two to a row, but for those that are wide; one that none is left to stand beside has its caption there."""
    beside = False
    for shown, following in zip(pictures, [*pictures[1:], None], strict=True):
        alone = not shown.wide and not beside and (following is None or following.wide)
        beside = not shown.wide and not beside and not alone
        yield _figure(shown, "wide" if shown.wide else "alone" if alone else None)


def _figure(shown: Shown, kind: str | None) -> Element:
    source = f"data:image/png;base64,{b64encode(shown.png).decode()}"
    picture, caption = el("img", src=source, alt=shown.alt), el("figcaption", shown.caption)
    return el("figure", picture, caption, class_=kind) if kind else el("figure", picture, caption)


def _card(found: Facts) -> Element:
    """The report card: every figure with its error, n and unit, and every sentence of advice."""
    refused = [el("p", f"{name}: none, since {why}.") for name, why in found.refused.items()]
    return el(
        "section",
        el("h2", "Report card"),
        el("p", found.unevaluated + ".") if found.unevaluated else None,
        *map(_sheet, found.sheets),
        *refused,
    )


def _sheet(sheet: Sheet) -> Element:
    return together(
        el("h3", sheet.title),
        _figures(sheet.about, sheet.rows, ("figure", "value ± standard error, unit, n")),
        el("ul", *(el("li", sentence) for sentence in sheet.advice), class_="advice") if sheet.advice else None,
    )


def _figures(caption: str, rows: Iterable[Row], columns: tuple[str, str], kind: str = "figures stacked") -> Element:
    body = [
        el("tr", el("th", row.name, scope="row", **({"class_": "deep"} if row.depth else {})), el("td", row.text))
        for row in rows
    ]
    return _table(caption, columns, body, kind)


def _table(caption: str, columns: Sequence[str], body: Iterable[Element], kind: str) -> Element:
    head = el("thead", el("tr", *(el("th", name, scope="col") for name in columns)))
    return el("table", el("caption", caption) if caption else None, head, el("tbody", *body), class_=kind)


def _settings(caption: str, said: Mapping[str, Any]) -> Element | None:
    rows = [Row(name.replace("_", " "), 0, _said(value)) for name, value in said.items() if value is not None]
    return _figures(caption, rows, ("setting", "value"), "figures") if rows else None


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _dimensions(dimensions: Sequence[Dimension]) -> Element | None:
    """What each dimension of z carries, as a table with bars; those that have collapsed in one line."""
    if not dimensions:
        return None
    most = max(one.rate or 0.0 for one in dimensions)
    used, idle = [one for one in dimensions if not one.collapsed], [one for one in dimensions if one.collapsed]
    rows = [
        el(
            "tr",
            el("th", f"z{one.index}", scope="row"),
            el("td", one.text or "no rate of its own"),
            el("td", _bar((one.rate or 0.0) / most if most > 0 else 0.0), class_="bar"),
        )
        for one in used
    ]
    table = _table("By falling rate", ("dimension", "KL(q(z|x) || p(z))", "beside the largest"), rows, "dimensions")
    names = ", ".join(f"z{one.index}" for one in idle)
    rest = el("p", f"Collapsed, with less than {COLLAPSED} nats each: {names}.") if idle else None
    return el("section", el("h2", "What each dimension carries"), table if used else None, rest)


def _bar(share: float) -> Element:
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}"
    rect = el("rect", width=width, height="8")
    return el("svg", rect, viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true")


def _training(found: Facts) -> Element:
    rows = []
    for curve in found.curves:
        seen = [(epoch, value) for epoch, value in zip(curve.epochs, curve.validation, strict=True) if value is not None]
        text = "not recorded" if curve.training[-1] is None else f"{curve.training[-1]:,.2f} {curve.unit}"
        if seen:
            text += f"; on the validation split {seen[-1][1]:,.2f}, after epoch {seen[-1][0]}"
        rows.append(Row(curve.name, 0, text))
    last = max((curve.epochs[-1] for curve in found.curves if curve.epochs), default=0)
    took = "" if found.seconds is None else f"It took {counted(round(found.seconds), 'second')} of training."
    return el(
        "section",
        el("h2", "How it was trained"),
        el("p", f"Recipe {found.recipe.name}{f': {found.recipe.source}' if found.recipe.source else ''}. {took}"),
        _figures(f"The last epoch, {last}", rows, ("figure", "mean over its steps")) if rows else None,
        el(
            "div",
            _settings("Settings of the recipe", found.recipe.settings),
            _settings("What came of it", _outcome(found.outcome)),
            _settings("Where", found.machine),
            _settings("Settings of training", found.recipe.training),
            class_="settings",
        ),
    )


def _outcome(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {"best_step": "step of the weights that were kept", "best_value": "their loss on the validation split, nats"}
    return {names.get(name, name): value for name, value in said.items()}


def _model(found: Facts) -> Element:
    rows = [
        el(
            "tr",
            el("th", piece.name, scope="row"),
            el("td", f"{piece.parameters:,}", class_="number"),
            el("td", el("code", piece.text)),
        )
        for piece in found.model.pieces
    ]
    return el(
        "section",
        el("h2", "What it is made of"),
        _table(f"Parts of the {found.model.kind}", ("part", "parameters", "composition"), rows, "parts"),
        el("p", "Trained on ", el("code", found.model.objective), "."),
    )


def _data(found: Facts) -> Element:
    data = found.data
    named = {
        "name": data.name,
        "whose": data.attribution or "not known: see that you may pass them on",
        "measure": data.measure,
        "shape of x": " x ".join(map(str, data.shape)),
        "rows": data.rows,
        "classes": data.classes or None,
        "columns": data.columns or None,
        "fingerprint": data.fingerprint,
    }
    return el("section", el("h2", "Data"), _settings("What it was trained on", named))


def _again(found: Facts) -> Element | None:
    if not found.commands:
        return None
    lines = [together(el("p", f"This {one.purpose}:"), el("pre", el("code", one.line))) for one in found.commands]
    return el("section", el("h2", "To have it again"), *lines)
