"""The page's modules called one by one, in the browser that they are for."""

from pathlib import Path

import pytest

from unveil import explorer
from unveil.explorer.modules import joined

JS = Path(explorer.__file__).with_name("page") / "js"
THREE = [[[0.3, 0.25], [0.45, 0.15], [0.62, 0.2], [0.66, 0.33], [0.55, 0.45], [0.45, 0.48], [0.6, 0.5], [0.7, 0.62],
          [0.66, 0.78], [0.5, 0.86], [0.33, 0.8]]]  # fmt: skip
"""The strokes of a 3, in shares of a pad."""


def call(page, module, expression, given=None):
    """What an expression over a module's exports comes to, `given` being in it."""
    names = f"const exported = module_{module};"
    return page.evaluate(f"(given) => {{ {joined(JS, module)}\n{names}\nreturn {expression}; }}", given)


def pen(page, strokes, selector=".pad"):
    """Moves the mouse along strokes."""
    box = page.locator(selector).bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()


def clean(page):
    """What axe-core finds wrong with what is seen, by the rules of WCAG; nothing, it is to be hoped."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"]])
        for one in axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response["violations"]
    ]
