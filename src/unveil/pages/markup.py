"""HTML from elements: whatever is text is escaped here, and nowhere else is there markup that a file could write into."""

from __future__ import annotations

import html
from dataclasses import dataclass

EMPTY = {"img", "meta", "br", "hr"}


@dataclass(frozen=True)
class Element:
    """Markup that is whole: an element with all that is in it."""

    markup: str


Content = Element | str | None
"""What may stand in an element: other elements, text that is escaped, or nothing."""


def el(tag: str, *content: Content, **attributes: str) -> Element:
    """An element; attributes are named as in HTML, 'class_' for class and '_' for '-'."""
    named = "".join(f' {name.rstrip("_").replace("_", "-")}="{_escaped(value)}"' for name, value in attributes.items())
    if tag in EMPTY:
        return Element(f"<{tag}{named}>")
    return Element(f"<{tag}{named}>{''.join(map(_inner, content))}</{tag}>")


def style(sheet: str) -> Element:
    """A style sheet, which is this package's own and so is not escaped."""
    return Element(f"<style>{sheet}</style>")


def together(*content: Content) -> Element:
    """Elements one after the other."""
    return Element("".join(map(_inner, content)))


def _inner(content: Content) -> str:
    if content is None:
        return ""
    return content.markup if isinstance(content, Element) else _escaped(content)


def _escaped(text: str) -> str:
    """Text as HTML shows it: without control characters, and without halves of characters, which no encoding has."""
    shown = "".join(one if one >= " " or one == "\n" else "\ufffd" for one in text)
    return html.escape(shown.encode("utf-8", "replace").decode(), quote=True)
