"""The pages: links, anchors, commands, examples and the table of contents are held to what is there. Nothing is built."""

import doctest
import re
import shlex
import sys
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest

from unveil.cli import COMMANDS, options
from unveil.cli.parsing import parse, parse_train
from unveil.recipes import RECIPES

ROOT = Path(__file__).parents[1]
DOCS, SRC = ROOT / "docs", ROOT / "src"
PAGES = sorted({ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")})
GUIDES = sorted((DOCS / "guides").glob("*.md"))
EXAMPLES = sorted(path for path in SRC.rglob("*.py") if ">>> " in path.read_text())

FENCED = re.compile(r"^( *)(```+|:::+)([^\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n)+(?=\S|\Z)")
STANDS_FOR = {"RECIPE": "vae", "NAME": "vae", "EPOCHS": "3", "SEED": "0", "N": "3"}
"""What is written in a command where a number or a known name has to be."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code."""
    text = INDENTED.sub("", FENCED.sub("", page.read_text()))
    return re.sub(r"`[^`\n]*`", "", text)


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub and the site give the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for address in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", address):
            continue
        path, _, anchor = address.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{named(page)} links to {address}, which is not there"
        assert not anchor or anchor in slugs(target), f"{named(page)} links to {address}, which has no such heading"


def test_every_page_is_in_the_table_of_contents():
    listed = []
    for index in (DOCS / "index.md", DOCS / "reference" / "index.md"):
        place = index.parent.relative_to(DOCS)
        for _, _, head, body in FENCED.findall(index.read_text()):
            if head == "{toctree}":
                entries = [line for line in body.splitlines() if line and not line.startswith(":")]
                listed += [str(place / re.sub(r".*<(.*)>", r"\1", entry)) for entry in entries]
    pages = [path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*") if path.suffix in (".md", ".py", ".ipynb")]
    for page in (str(page) for page in pages if page.parts[0] != "site" and str(page) != "index"):
        assert any(fnmatch(page, entry) for entry in listed), f"docs/{page} is in no toctree of docs/index.md"


def commands(page: Path) -> list[str]:
    """The command lines of a page: those in code, and those in the text that say more than a name."""
    text = page.read_text()
    blocks = [body for _, _, head, body in FENCED.findall(text) if head in ("", "console", "bash", "sh")]
    blocks += INDENTED.findall(FENCED.sub("", text))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(span.split()) for span in re.findall(r"`(unveil [a-z-]+\s[^-`][^`]*)`", FENCED.sub("", text))]
    pattern = r"(?:^|[\s`$])(?:unveil|\./run) +([a-z][a-z-]*)\b(.*?)(?= {3,}unveil |$)"
    found = [one for line in lines for one in re.finditer(pattern, line)]
    return [f"{one[1]}{one[2]}" for one in found if one[1] in COMMANDS]


def arguments(line: str) -> list[str]:
    """What follows the name of a command, as a shell would hand it over."""
    words = shlex.split(line.rstrip("'\"`"), comments=True)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "2>&1", "&&", ";")]
    return [STANDS_FOR.get(word, word.partition("|")[0]) for word in words[: min(ends, default=None)]]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_are_understood(page):
    for line in commands(page):
        name, *_ = line.split()
        given = arguments(line)
        if "..." in line or "--help" in given:
            continue
        try:
            if name == "train":
                parse_train(given)
            else:
                parse(getattr(options, "".join(word.capitalize() for word in name.split("-"))), name, given)
        except (ValueError, SystemExit) as error:
            pytest.fail(f"{named(page)}: unveil {line}: {error}")


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_examples_in_docstrings(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed


def programs(page: Path) -> list[str]:
    """The Python of a page that is whole: it begins by importing what it takes."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in found if re.search(r"^import unveil$", block, re.MULTILINE)]


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=named)
def test_programs_of_guides_run(page, tmp_path, monkeypatch):
    """On the embedded digits where a page says MNIST, for an epoch."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{20 + place % 50},{'ABC'[place % 3]},{'' if place % 7 == 0 else place * 31 % 17},x{place}" for place in range(90)
    ]
    Path("people.csv").write_text("\n".join(["age,zip,visits,note", *rows]) + "\n")
    for program in programs(page):
        shorter = re.sub(r"epochs=\d+", "epochs=1", re.sub(r'(load|train)\("mnist"', r'\1("digits"', program))
        shorter = shorter.replace("images=1000", "images=50").replace('recipe="mnist-2d")', 'recipe="mnist-2d", epochs=1)')
        exec(compile(shorter, str(page), "exec"), {"__name__": "guide"})


def test_every_recipe_is_told_apart():
    table = (DOCS / "guides" / "recipes.md").read_text()
    assert [name for name in RECIPES if f"`{name}`" not in table] == []
    assert f"| {len(RECIPES)} recipes" in (DOCS / "comparison.md").read_text()
    shown = (DOCS / "family.md").read_text() + (DOCS / "gallery.md").read_text() + (DOCS / "records.md").read_text()
    assert [name for name in RECIPES if f"`{name}`" not in shown and name != "table"] == []


def test_recipes_that_are_named_exist():
    page = (DOCS / "guides" / "from-pythae.md").read_text()
    models = page[page.index("## Models") : page.index("## Samplers")]
    names = [name for name in re.findall(r"`([^`]+)`", models) if name == name.lower()]
    assert len(names) > 30
    assert [name for name in names if name not in RECIPES] == []


@pytest.fixture
def machinery(monkeypatch):
    """The modules that make the site, which lie beside its pages."""
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    monkeypatch.setenv("UNVEIL_TUTORIAL_OUT", "")
    yield import_module
    for name in ("links", "program", "docstrings"):
        sys.modules.pop(name, None)


def test_dead_links_and_foreign_files_are_found(machinery, tmp_path):
    (tmp_path / "a.css").write_text("@import 'https://else.where/b.css'; p { background: url(c.png) }")
    (tmp_path / "b.html").write_text('<p id="here"><a href="https://else.where/">fine</a></p>')
    (tmp_path / "index.html").write_text(
        '<a href="b.html#here">fine</a><a href="#top" id="top">fine</a><a href="b.html#there"></a><a href="c.html"></a>'
        '<script src="https://else.where/d.js"></script><img src="e.png">'
    )
    assert list(machinery("links").faults(tmp_path)) == [
        "index.html loads https://else.where/d.js from elsewhere",
        "index.html links to b.html#there, and there is no such place on that page",
        "index.html links to c.html, which is not there",
        "index.html links to e.png, which is not there",
        "a.css loads https://else.where/b.css from elsewhere",
    ]


def test_a_program_is_played_cell_by_cell(machinery, tmp_path):
    text = "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 2\n\n# %%\nprint(x + 1)\n"
    program = machinery("program")
    assert program.cells(text) == [("markdown", "# Title\n\nText."), ("code", "x = 2"), ("code", "print(x + 1)")]
    assert program.played(text, tmp_path) == ["", "", "3\n"]


def test_shapes_and_bars_of_docstrings_are_plain(machinery):
    lines = [
        "(B, *event) of |z|, *which* p(x|z) is.",
        "",
        ".. math:: |z|",
        "    |z|",
        "",
        "Example:",
        "    >>> f(*a)",
        "    |z|",
    ]
    machinery("docstrings").as_it_is_meant(None, "class", "name", None, None, lines)
    assert lines[0] == r"(B, \*event) of \|z|, *which* p(x\|z) is."
    assert lines[2:5] == [".. math:: |z|", "    |z|", ""]
    assert lines[6:] == ["    >>> f(*a)", "    |z|"]
