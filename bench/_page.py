"""Tables are written by the command that measured them: between two marks in a page, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def write(name: str, text: str, page: Path = README) -> None:
    """Put `text` between the marks <!-- name --> and <!-- end name -->."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    changed = _between(name, page).sub(lambda _: f"{start}\n{text.strip()}\n{end}", page.read_text(encoding="utf-8"))
    page.write_text(changed, encoding="utf-8")


def read(name: str, page: Path = README) -> str:
    """What stands between the marks."""
    found = _between(name, page).search(page.read_text(encoding="utf-8"))
    assert found is not None
    return found[1].strip()


def _between(name: str, page: Path) -> re.Pattern[str]:
    """The marks of a page and what is between them."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(start) + "(.*?)" + re.escape(end), re.DOTALL)
    if not pattern.search(page.read_text(encoding="utf-8")):
        raise SystemExit(f"{page} has no marks {start} ... {end}")
    return pattern
