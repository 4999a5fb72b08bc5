"""Docstrings as they are meant: they may say (B, *event) and |z|, as `help` is to show them, without a backslash."""

import re
from collections.abc import Iterator, Sequence

from docutils import nodes
from docutils.utils import unescape
from sphinx.domains.python import PyXRefRole

READ_INTO = re.compile(r"\|(?=[\w+-])|(?<=[(\[ ])\*(?=\w+[,)\]])")
"""What reStructuredText would take for the beginning of a substitution or of an emphasis."""


def prose(lines: Sequence[str]) -> Iterator[int]:
    """The numbers of those lines that are neither a formula nor an example."""
    directive, example = None, False  # how far in a directive stands whose content goes on
    for number, line in enumerate(lines):
        text = line.lstrip()
        indent = len(line) - len(text)
        if not text:
            example = False
        elif directive is None or indent <= directive:
            example = example or text.startswith(">>>")
            directive = indent if text.startswith(".. ") or text.endswith("::") else None
            if directive is None and not example and "``" not in text:
                yield number


def as_it_is_meant(app, what, name, obj, options, lines):
    for number in list(prose(lines)):
        lines[number] = READ_INTO.sub(r"\\\g<0>", lines[number])


def name(role, raw, text, line, inliner, options=None, content=()):
    """What stands in single backticks: a link where it is a name of ours, and else code as it is, such as `.npy`."""
    said = unescape(text)
    if re.fullmatch(r"[A-Za-z_][\w.]*", said):
        return PyXRefRole()("py:obj", raw, said, line, inliner, {}, [])
    return [nodes.literal(raw, said)], []


def nothing_is_no_type(app, domain, objtype, content):
    """A class is not said to return None, as its constructor does."""
    for field in list(content.findall(nodes.field)):
        if field[0].astext() == "rtype" and field[1].astext() == "None":
            field.parent.remove(field)


def with_dashes(app, tree, docname):
    """Between a name and what is said of it Sphinx writes two hyphens, and has them made a dash with all quotes, or not."""
    for text in [text for text in tree.findall(nodes.Text) if text == " -- "]:
        text.parent.replace(text, nodes.Text(" – "))


def setup(app):
    app.add_role("name", name)
    app.connect("object-description-transform", nothing_is_no_type, priority=900)  # after types were put in
    app.connect("doctree-resolved", with_dashes)
    app.connect("autodoc-process-docstring", as_it_is_meant, priority=400)  # before napoleon cuts them into sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}
