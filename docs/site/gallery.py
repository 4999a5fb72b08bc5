"""Directives for pages that are made of what stands elsewhere: `gallery` of docs/family.md, `recipes` of the registry."""

from __future__ import annotations

import re
from functools import cache
from itertools import groupby
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

FAMILY = Path(__file__).parents[1] / "family.md"
KINDS = {
    "classic": "The VAE itself",
    "bounds": "Other bounds and prices",
    "regularised": "Autoencoders and other losses",
    "aggregate": "The codes together",
    "priors": "Learned priors",
    "flows": "Flows in the posterior",
    "curved": "Curved latent spaces",
    "discrete": "Codes",
    "chains": "Steps towards the posterior",
    "adversarial": "Critics",
    "hierarchies": "Several layers",
}
"""The modules of `unveil.recipes`, in their order, and what they have in common."""


@cache
def measured() -> dict[str, dict[str, str]]:
    """The rows of the table in docs/family.md by recipe: the heads of its columns and their cells."""
    lines = [line for line in FAMILY.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): dict(zip(head, row, strict=True)) for row in rows}


def by_kind() -> list[tuple[str, list]]:
    """The recipes under what those of a module have in common."""
    from unveil.recipes import RECIPES

    def kind(recipe):
        return recipe.function.__module__.rpartition(".")[2]

    ordered = sorted(RECIPES.values(), key=lambda recipe: list(KINDS).index(kind(recipe)))
    return [(KINDS[name], list(some)) for name, some in groupby(ordered, kind)]


class Made(SphinxDirective):
    """A page's part that is made of records; `entry` makes what stands for one."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(FAMILY))
        found: list[nodes.Node] = []
        for title, recipes in by_kind():
            entries = [entry for recipe in recipes if (entry := self.entry(recipe)) is not None]
            if entries:
                found += [nodes.rubric(title, title), *entries]
        return found

    def entry(self, recipe) -> nodes.Node | None:
        raise NotImplementedError

    def said(self, text: str, kind: str, name: str) -> nodes.container:
        """A box with text in Markdown, which a link can lead to."""
        box = nodes.container(classes=[kind], ids=[f"{kind}-{name}"])
        self.state.nested_parse(StringList(text.splitlines(), ""), self.content_offset, box)
        return box


class Gallery(Made):
    """A strip of samples of each recipe, with what it is and its nats."""

    def entry(self, recipe) -> nodes.Node | None:
        row = measured().get(recipe.name)
        if row is None:
            return None
        nats = row["-log p(x), nats"]
        says = f"-log p(x) {nats} nats" if nats != "none" else f"no nats; distortion {row['distortion']}"
        box = self.said(
            f"**`{recipe.name}`**: {recipe.summary}. {says}, {row['epochs'].replace(' in', ' epochs in')}.",
            "strip",
            recipe.name,
        )
        (where,) = re.findall(r"\]\((.*)\)", row["samples"])
        box += nodes.image(uri=where, alt=f"ten samples of {recipe.name}", width="100%")
        return box


class Recipes(Made):
    """Every recipe: what it is, which spaces it is for, and where it is from."""

    def entry(self, recipe) -> nodes.Node:
        from unveil.recipes import EVERY

        spaces = "" if recipe.measures == EVERY else f" For {', '.join(recipe.measures)} x."
        labels = " Takes labels." if recipe.labels else ""
        text = f"**`{recipe.name}`**: {recipe.summary}.{spaces}{labels} {recipe.source}."
        return self.said(text, "recipe", recipe.name)


def setup(app):
    app.add_directive("gallery", Gallery)
    app.add_directive("recipes", Recipes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
