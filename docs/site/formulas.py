"""Formulas as MathML, which browsers draw by themselves: no script, no font, nothing to fetch.

docutils translates LaTeX; what it cannot read is a warning, and a strict build ends there.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

log = logging.getLogger(__name__)
SAME = (
    (r"\\([bB]igg?)(?![a-zA-Z])", r"\\\1l"),  # delimiters of a size that are neither left nor right
    (r"\\dots(?![a-zA-Z])", r"\\ldots"),
    (r"\\([td]?frac)(\d)(\d)", r"\\\1{\2}{\3}"),  # \frac12 would be read as twelve over what follows
    (r"\\(log|exp|sin|cos|det)\s*(?=[a-zA-Z0-9]|\\(?:frac|tfrac|sum|sigma|hat|rho|int|det|sinh|prod|mathcal))", r"\\\1\\,"),
    (r"_(\\text\{[^{}]*\})", r"_{\1}"),
    (r"\\underbrace\{((?:[^{}]|\{[^{}]*\})*)\}_\{((?:[^{}]|\{[^{}]*\})*)\}", r"\\underset{\2}{\\underbrace{\1}}"),
)
"""What docutils does not know or reads otherwise than LaTeX, and the same in what it does."""


def markup(node: nodes.Element, block: bool) -> str:
    """The MathML of a formula; its source, where that cannot be read."""
    source = node.astext()
    for pattern, same in SAME:
        source = re.sub(pattern, same, source)
    try:
        return tex2mathml(source, as_block=block)
    except MathError as error:
        log.warning("the formula %r cannot be read: %s", source, error, location=node)
        return f"<code>{nodes.unescape(source)}</code>"


def inline(writer, node):
    writer.body.append(markup(node, block=False))
    raise nodes.SkipNode


def displayed(writer, node):
    writer.body.append(f'<div class="formula" tabindex="0">{markup(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
