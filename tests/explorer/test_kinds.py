"""Every kind of model in every view: nothing goes wrong, and a view that makes no sense says why in one sentence."""

import pytest
import torch
from helpers.exports import people
from helpers.pages import until

import unveil
from unveil.data import from_arrays
from unveil.explorer import write_page
from unveil.export.graphs import Graphs, graph, pures
from unveil.export.trace import traced
from unveil.recipes import RECIPES

VIEWS = ("plane", "manifold", "draw", "walk", "sample", "card")
CODES = {"manifold": "between two codes there is nothing", "walk": "between two codes there is nothing"}
NO_IMAGES = dict.fromkeys(("manifold", "draw", "walk", "sample"), "images")
SETTINGS = {"hidden": (6,), "dimensions": 2, "classes": 3, "layers": 2, "width": 4, "known": 100}


def colours(folder):
    images = torch.randint(0, 256, (60, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return from_arrays(images.to(torch.uint8), torch.arange(60) % 3, name="colours")


KINDS = {
    "line": ("vae", {"latent": 1}, {"manifold": "a line"}),
    "ball": ("poincare-vae", {"latent": 2}, {}),
    "sphere": ("svae", {"latent": 3}, {"manifold": "curved"}),
    "codes": ("gumbel-vae", {}, CODES),
    "classes": ("cvae", {"latent": 2}, {}),
    "few labels": ("m2", {"latent": 3}, {}),
    "ladder": ("ladder", {"latent": 3}, {}),
    "colours": ("vae", {"latent": 2}, {}),
    "table": ("table", {"latent": 2}, NO_IMAGES),
}


@pytest.fixture
def page_of(tiny, tmp_path, monkeypatch):
    """The page of a kind of model, hardly trained, of which no more than the encoder and the decoder is lowered."""

    def few(run, half=True):
        with pures(run) as (modules, without):
            made = {name: graph(traced(modules[name]), half) for name in ("encode", "decode")}
        others = {name: None for name in ("prior", "weigh", "sample")}
        return Graphs(**made, **others, without={**without, **dict.fromkeys(others, "it was left out")})

    monkeypatch.setattr("unveil.explorer.writing.graphs", few)

    def written(name):
        recipe, given, _ = KINDS[name]
        data = {"colours": colours, "table": people}.get(name, lambda folder: tiny)(tmp_path)
        own = {key: getattr(RECIPES[recipe].model, key, None) for key in {**SETTINGS, **given}}
        fits = {key: value for key, value in {**SETTINGS, **given}.items() if type(own[key]) is type(value)}
        run = unveil.train(data, RECIPES[recipe].given(**fits), epochs=1, out=tmp_path / "run")
        write_page(run, tmp_path / "page.html", run.load_data() if run.data is None else run.data)
        return tmp_path / "page.html"

    return written


@pytest.mark.parametrize("name", KINDS)
def test_every_view_of_every_kind(look, page_of, name):
    _, _, missing = KINDS[name]
    page = look(page_of(name), reduced_motion="reduce")
    for view in VIEWS:
        page.evaluate(f"location.hash = '{view}'")
        page.wait_for_selector(f"#panel-{view}", state="visible")
        said = page.locator(f"#panel-{view} .missing").all_inner_texts()
        if view in missing or view == "sample":
            (why,) = said
            assert missing.get(view, "it was left out") in why
            assert why.endswith(".")
        else:
            assert said == []
    if "walk" not in missing:
        until(page, "document.querySelector('.strip').dataset.count > 0")
    if name == "line":
        assert page.evaluate("unveil.sight.said()").count("=") == 1
        lines = "unveil.sight.contours.find((one) => one.share === 0.95).lines.flat().map(([x]) => Math.abs(x))"
        assert page.evaluate(f"Math.min(...{lines}) > 1.85 && Math.max(...{lines}) < 2.07")  # 1.96, of a standard normal
    if name == "ball":
        page.evaluate("unveil.sight.move([3, 4])")
        assert page.evaluate("unveil.sight.at") == pytest.approx([0.6, 0.8], abs=1e-4)
        assert page.evaluate("Math.hypot(...unveil.sight.z())") < 1
        assert page.evaluate("unveil.latent.ways") == [{"name": "geodesic", "curvature": 1}]
