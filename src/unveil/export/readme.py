"""The README.md of a bundle, from what bundle.json says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unveil.export.about import notice

NEEDS = {"onnx": "NumPy and onnxruntime", "torch": "NumPy and torch", "numpy": "NumPy alone"}
CALL = """```python
from loader import load_bundle  # with this folder as the working directory, or on sys.path

generate = load_bundle(".")
x = generate({asked})
```
"""


def readme(about: Mapping[str, Any]) -> str:
    """What the bundle is, how it is called, what it needs, what it is without, and whose data it learned from."""
    recipe, space, classes = about["recipe"] or about["model"], about["space"], about["classes"]
    asked = "64, seed=0" + (", label=0" if classes else "") + ("" if "sample" in about["graphs"] else ", mean=True")
    parts = [
        f"# {literal(recipe)}, trained on {literal(about['data']['name'])}",
        f"This is {literal(about['what'])}.",
        f"One x has the shape {tuple(space['shape'])}. It is read as {literal(space['read'])}.",
        CALL.format(asked=asked) + f"\nIt needs {NEEDS[about['to']]}, and no Unveil. "
        "`generate.check()` compares every function with what the model gave where it was trained.",
        f"Its functions: {', '.join(f'`{name}`' for name in about['graphs'])}. `bundle.json` says what they take and give.",
        *(f"It is without `{name}`: {literal(why)}." for name, why in about["without"].items()),
        "## Whose data",
        *(literal(line) for line in notice(about).splitlines()),
    ]
    return "\n\n".join(parts) + "\n"


def literal(text: str) -> str:
    """Text in one line that Markdown shows as it is, whatever somebody called their data."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return re.sub(r"([\\`*_\[\]<>#&|~$])", r"\\\1", line)
