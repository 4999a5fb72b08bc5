"""How the pages of docs/ become a site; nothing is fetched, neither by the build nor by a reader's browser."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from unveil.version import __version__

project = "Unveil"
author = copyright = "The Unveil authors"
release = version = __version__

own = ["docstrings", "formulas", "gallery"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", *own]
root_doc = "index"
exclude_patterns = ["site/**"]
smartquotes = False
highlight_language = "none"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
myst_update_mathjax = False
# a program of cells is shown with what it gave when the build ran it, a notebook with what it holds
nb_custom_formats = {".py": ["program.read", {}, False]}
nb_execution_mode = "off"

nitpicky = True
# types of other projects are named in signatures, and their inventories lie on the network
# and in docstrings names in backticks are links where they can be, and else code
nitpick_ignore_regex = [("py:.*", r"(?!unveil\.).*"), ("py:obj", ".*")]
default_role = "name"
python_display_short_literal_types = True
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"Unveil {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

README = re.compile(r"\]\((?:\.\./)+README\.md\)")


def readme_is_the_front_page(app, docname, source):
    """What links to the README on GitHub links to the front page here, which shows most of it."""
    source[0] = README.sub("](/index.md)", source[0])


def places_that_are_taken(app, docname, source):
    """A pattern in the table of contents, such as notebooks/*, may be of pages that are not there."""
    if docname == app.config.root_doc:
        source[0] = re.sub(
            r"^[\w/]+\*\n", lambda entry: entry[0] if any(app.srcdir.glob(entry[0].strip())) else "", source[0], flags=re.M
        )


def setup(app):
    app.connect("source-read", places_that_are_taken)
    app.connect("source-read", readme_is_the_front_page)
