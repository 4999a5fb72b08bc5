"""A real browser, and pages of small models that it opens from files."""

from dataclasses import dataclass, field, replace

import pytest
import torch

import unveil
from unveil.data import from_arrays
from unveil.explorer import write_page
from unveil.export import graphs
from unveil.recipes import RECIPES

HOSTILE = "<img src=x onerror=document.title='owned'>"


@dataclass
class Seen:
    """A page, and what went wrong on it: errors of its scripts, and whatever it asked the network for."""

    page: object
    errors: list = field(default_factory=list)
    requests: list = field(default_factory=list)


@pytest.fixture
def look(browser):
    """`look(path, "draw", **options of the context)`: a page that is ready, at one of its views."""
    contexts, seen = [], []

    def open_page(path, view="plane", **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        one = Seen(page)
        seen.append(one)
        page.on("console", lambda message: one.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: one.errors.append(str(error)))
        page.on("request", lambda request: one.requests.append(request.url))
        page.goto(f"{path.as_uri()}#{view}")
        page.wait_for_selector("html[data-ready], html[data-failed]", state="attached", timeout=60_000)
        assert page.get_attribute("html", "data-failed") is None, page.inner_text("#whose")
        return page

    open_page.seen = seen
    yield open_page
    for context in contexts:
        context.close()
    for one in seen:
        assert one.errors == []
        assert [url for url in one.requests if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A model of two latent dimensions that has seen the digits often enough to tell a few apart."""
    short = RECIPES["vae"].given(latent=2, hidden=(64,))
    return unveil.train("digits", short, epochs=12, out=tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session", autouse=True)
def graphs_of():
    """The graphs of a run in half precision, which take seconds, made once for each."""
    kept = {}

    def once(run, half=True):
        if id(run) not in kept:
            kept[id(run)] = run, graphs(run, half)
        return kept[id(run)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unveil.explorer.writing.graphs", once)
        yield once


@pytest.fixture(scope="session")
def bare_page(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "bare.html"
    write_page(small, path, None)
    return path


@pytest.fixture(scope="session")
def small_page(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    write_page(small, path, small.load_data())
    return path


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """Of six dimensions, most of which collapse, with classes whose names are markup."""
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (400,), generator=source)
    images = torch.randint(0, 40, (400, 1, 8, 8), generator=source)
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 3] += 210
    names = (HOSTILE, "</script><script>document.title='owned'</script>", "third")
    data = replace(from_arrays(images.to(torch.uint8), labels, name=HOSTILE), classes=names)
    short = RECIPES["vae"].given(latent=6, hidden=(32,))
    return unveil.train(data, short, epochs=40, batch_size=40, out=tmp_path_factory.mktemp("runs") / "wide")


@pytest.fixture(scope="session")
def wide_page(wide, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "wide.html"
    write_page(wide, path, wide.load_data())
    return path
