"""The page's scripts as one: ES modules of a folder, each with named exports, in the order in which they need each other.

A page that opens from a file cannot import a module from another one. Each module becomes a function that is called once
and gives back what it exports. What is understood is what the modules here are written in: `import { a, b } from "./c.js";` on
one or several lines, and `export` before a function, a class or a const.
"""

from __future__ import annotations

import re
from pathlib import Path

IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*? |class |const )(\w+)", re.MULTILINE)


def joined(folder: Path, first: str) -> str:
    """A script that runs the module named `first`, and before it what it imports."""
    done: dict[str, str] = {}
    _add(folder, first, done, ())
    return "\n".join(['"use strict";', *done.values()])


def _add(folder: Path, name: str, done: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{name}.js imports itself by way of {' and '.join(above)}")
    if name in done:
        return
    text = (folder / f"{name}.js").read_text(encoding="utf-8")
    for _, other in IMPORT.findall(text):
        _add(folder, other, done, (*above, name))
    body = IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_handle(found[2])};\n", text)
    given = ", ".join(called for _, called in EXPORT.findall(body))
    body = EXPORT.sub(r"\1\2", body)
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name}.js has an import or export of a kind that cannot be joined")
    done[name] = f"const {_handle(name)} = (() => {{\n{body}return {{{given}}};\n}})();"


def _handle(name: str) -> str:
    return f"module_{name.replace('-', '_')}"
