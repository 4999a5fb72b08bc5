"""The still page: whole, still, and showing as text whatever a file says."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import unveil
from unveil.cli import main
from unveil.pages import facts
from unveil.pages.markup import el, together
from unveil.pages.shown import Shown
from unveil.pages.still import POLICY
from unveil.pages.still import page as markup

EVIL = "<script>alert(1)</script>&\"'<b>"


class Reader(HTMLParser):
    """What is on a page: its tags with their attributes, its text, and that every element is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("still") / "run"
    trained = unveil.train(unveil.load("digits"), recipe="vae", latent=12, epochs=2, out=out)
    trained.evaluate(samples=20, images=12, also=("latent", "aggregate", "samples"))
    return trained


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    assert main(["report", str(run.path), "--out", str(out)]) == 0
    return out


def test_a_page_is_whole_and_shows_every_figure_and_every_advice(run, page):
    reader, found = Reader(page.read_text()), facts(unveil.open(run.path))
    assert len(found.rows()) > 15
    for row in found.rows():
        assert row.name in reader.text
        assert row.text in reader.text
    advice = [sentence for sheet in found.sheets for sentence in sheet.advice]
    assert advice
    for said in (*advice, *found.refused.values(), found.data.fingerprint, found.data.attribution):
        assert re.sub(r"\s+", " ", said) in reader.text
    for command in found.commands:
        assert command.line in reader.text
    assert len(reader.all("img")) == 5
    assert re.search("<dt>(.*?)</dt>", page.read_text())[1] == "-log p(x), K = 20", "the estimate by most draws comes first"


def test_a_page_asks_for_nothing_and_runs_nothing(page):
    text = page.read_text()
    reader = Reader(text)
    assert reader.all("meta")[1] == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert not {"script", "link", "iframe", "object", "embed", "form", "a", "base"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:image/png;base64,") or name not in attributes
    assert "@import" not in text
    assert "url(" not in text


def test_a_page_has_headings_alternatives_and_scopes(page):
    reader = Reader(page.read_text())
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(len(image["alt"]) > 20 for image in reader.all("img"))
    assert all(cell.get("scope") in ("row", "col") for cell in reader.all("th"))
    assert reader.all("html") == [{"lang": "en"}]


def test_without_data_nothing_shows_the_data(run, tmp_path, capsys):
    assert main(["report", str(run.path), "--no-data", "--out", str(tmp_path / "page.html")]) == 0
    assert "left out" in capsys.readouterr().out
    reader = Reader((tmp_path / "page.html").read_text())
    assert "left out" in reader.text
    alts = " ".join(image["alt"] for image in reader.all("img"))
    assert "drawn from the model" in alts
    assert "test" not in alts
    assert "original" not in alts


def test_text_is_escaped_everywhere():
    whole = together(el("p", EVIL, title=EVIL), "a\x00\x1b\ud800b").markup
    assert "<script" not in whole
    assert "<b>" not in whole
    reader = Reader(whole)
    assert reader.all("p") == [{"title": EVIL}]
    assert reader.words[0] == EVIL
    assert reader.words[-1] == "a\ufffd\ufffd?b"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run of a table whose file, columns and classes have markup in their names, in a folder that has it too."""
    room = tmp_path_factory.mktemp("hostile")
    source = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{EVIL_CELL if b > 0 else 'usual $x$'},{a + b:.3f}"
        for a, b in zip(*source.normal(size=(2, 200)), strict=True)
    ]
    (room / EVIL_NAME).mkdir()
    table = room / EVIL_NAME / f"{EVIL_NAME}.csv"
    table.write_text("\n".join([f"a,{EVIL_NAME},c$\\frac$", *rows]))
    out = room / EVIL_NAME / "run"
    assert main(["train", str(table), "--epochs", "1", "--out", str(out)]) == 0
    return out


EVIL_NAME = "<img src=x onerror=alert(1)>&amp;"
EVIL_CELL = "<svg onload=alert(1)>"


def test_names_with_markup_in_them_are_shown_as_text(hostile, tmp_path, capsys):
    assert main(["report", str(hostile), "--out", str(tmp_path / "page.html")]) == 0
    assert "unveil evaluate" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text()
    reader = Reader(text)
    assert "onerror" in reader.text
    assert [image for image in reader.all("img") if "onerror" in image] == []
    assert "<img src=x" not in text
    assert "<svg onload" not in text
    assert "unveil evaluate" in reader.text, "a run without figures says how to have them"


def test_what_run_json_says_is_shown_as_text(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    said = json.loads((tmp_path / "run" / "run.json").read_text())
    said |= {"recipe": EVIL, "status": EVIL, "platform": EVIL, "notes": [EVIL], "precision": EVIL}
    said["data"] |= {"attribution": EVIL, "class_names": [EVIL] * 10, "fingerprint": EVIL}
    said["training"] |= {EVIL: EVIL}
    (tmp_path / "run" / "run.json").write_text(json.dumps(said))
    assert main(["report", str(tmp_path / "run"), "--no-data", "--out", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert Reader(text).text.count("<script>alert(1)</script>") >= 8


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '"data": {"rows": 3}'),
        ("metrics.jsonl", '{"step": 1}\n'),
        ("metrics.jsonl", '{"step": 1, "epoch": "x", "neg_elbo": []}\n'),
        ("timing.jsonl", "{\n"),
    ],
)
def test_a_damaged_folder_is_one_line(run, tmp_path, capsys, name, content):
    shutil.copytree(run.path, tmp_path / "run")
    path = tmp_path / "run" / name
    if name == "run.json":
        said = json.loads(path.read_text())
        said["data"]["rows"] = 3
        content = json.dumps(said)
    path.write_text(content)
    code = main(["report", str(tmp_path / "run"), "--no-data", "--out", str(tmp_path / "page.html")])
    told = capsys.readouterr().err
    assert (code, told.count("\n"), "damaged" in told) == (2, 1, True), told


def test_it_writes_over_nothing_that_it_reads_and_only_html(run, tmp_path, capsys):
    assert main(["report", str(run.path), "--out", str(tmp_path / "page.pdf")]) == 2
    assert ".html" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_finds_nothing_wrong_with_it(page, browser, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="NO AXE HERE: the page was not looked at")
    shown = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=theme)
    told, asked = [], []
    shown.on("console", lambda message: told.append(message.text))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(Path(page).as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == 390, "a phone scrolls down alone"
    assert shown.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert told == []
    # axe is put into the page by the test, past the policy
    broken = axe.Axe().run(shown).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:2]) for one in broken] == []
    shown.close()


@pytest.mark.parametrize(
    ("wide", "kinds"),
    [
        ("hhhhw", [None, None, None, None, "wide"]),
        ("hhhw", [None, None, "alone", "wide"]),
        ("hww", ["alone", "wide", "wide"]),
        ("hh", [None, None]),
        ("h", ["alone"]),
    ],
)
def test_a_picture_that_stands_alone_leaves_no_half_of_a_row_empty(run, wide, kinds):
    shown = [Shown("x", b"", "how to read it", "what it shows", one == "w") for one in wide]
    reader = Reader(markup(facts(run), shown))
    assert [attributes.get("class") for attributes in reader.all("figure")] == kinds
