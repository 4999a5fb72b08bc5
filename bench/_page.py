"""Tables are written by the command that measured them: between two marks in a page, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def write(name: str, text: str, page: Path = README) -> None:
    """Put `text` between the marks <!-- name --> and <!-- end name -->."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    old = page.read_text(encoding="utf-8")
    if start not in old or end not in old:
        raise SystemExit(f"{page} has no marks {start} ... {end}")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{start}\n{text.strip()}\n{end}", old), encoding="utf-8")
