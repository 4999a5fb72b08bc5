"""Looks at every link of a built site: what is on it exists, anchors too, and no page loads anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "link": "href"}
"""What a browser fetches unasked, and by which attribute."""


class Page(HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and LOADS[tag] in given:
            self.loads.append(given[LOADS[tag]])
        self.loads += re.findall(r"url\(([^)]*)\)", given.get("style", ""))


def is_elsewhere(address: str) -> bool:
    """Whether an address is of another place than the site."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")


def faults(site: Path) -> Iterator[str]:
    """A line for each link that leads nowhere, and for all that would be fetched from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name} loads {address} from elsewhere" for address in page.loads if is_elsewhere(address))
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if is_elsewhere(address) or parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name} links to {address}, which is not there"
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} links to {address}, and there is no such place on that page"
    for path in sorted(site.rglob("*.css")):
        sheet = path.read_text(encoding="utf-8")
        fetched = re.findall(r"@import\s+[\"']?([^\"';)]+)|url\(\s*[\"']?([^\"')]+)", sheet)
        for address in (one or other for one, other in fetched):
            if is_elsewhere(address):
                yield f"{path.relative_to(site)} loads {address} from elsewhere"
