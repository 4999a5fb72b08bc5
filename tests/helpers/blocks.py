"""The Python blocks of a page of docs, to be run in their order."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def sections(page):
    """Of each heading of a page the source of its blocks."""
    _, *parts = re.split(r"^## (.*)\n", (DOCS / page).read_text(), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        if blocks := re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            found[heading] = "\n".join(blocks)
    return found


def run(sources, names=None):
    """What the blocks of one page leave behind, one after another."""
    names = {"__name__": "docs"} if names is None else names
    for source in sources:
        exec(source, names)
    return names
