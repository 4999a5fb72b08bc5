"""Card: the report's figures with their errors, curves with named axes, and everything as text."""

import json

import pytest
from helpers.scripts import call, clean

import unveil
from unveil.pages import facts
from unveil.recipes import RECIPES

MOUNT = "exported.card.mount(document.body.appendChild(document.createElement('main')), { know: { facts: given } })"


@pytest.fixture(scope="module")
def told(digits, tmp_path_factory):
    """What is known of a small run that was evaluated."""
    short = RECIPES["vae"].given(latent=2, hidden=(8,))
    run = unveil.train(digits, short, epochs=3, out=tmp_path_factory.mktemp("runs") / "told")
    run.evaluate(samples=10, images=40)
    return facts(run).as_dict()


@pytest.fixture
def blank(browser):
    page = browser.new_page()
    page.set_content("<!doctype html><html lang='en'><title>card</title>")
    yield page
    page.close()


def test_figures_stand_with_error_n_and_unit(blank, told):
    call(blank, "card", MOUNT, told)
    seen = blank.inner_text("main")
    for row in told["sheets"][0]["rows"]:
        assert row["text"] in seen
        assert row["name"] in seen
    estimate = next(row for row in told["sheets"][0]["rows"] if row["name"].startswith("-log p(x), K = 10"))
    large = blank.locator(".headline").first.inner_text()
    assert estimate["text"].split(" (n")[0] in large
    assert "n = 40" in large


def test_curves_have_named_axes_and_lines(blank, told):
    call(blank, "card", MOUNT, told)
    charts = blank.locator("svg.chart")
    assert charts.count() == len(told["curves"]) == 3
    words = charts.first.locator("text").all_text_contents()
    assert {"epoch", "nats per example", "training", "validation"} <= set(words)
    first = told["curves"][0]
    assert f"training: {first['training'][0]:.1f} at epoch 1" in charts.first.get_attribute("aria-label")
    assert charts.first.locator("path").count() == 2
    heights = [float(box["y"]) for box in (line.bounding_box() for line in charts.first.locator(".chart-name").all())]
    assert abs(heights[0] - heights[1]) > 5  # names do not lie on each other
    assert not clean(blank)


def test_markup_stays_text(blank, told):
    hostile = json.loads(json.dumps(told))
    markup = "<img src=x onerror=document.title='owned'>"
    hostile["data"]["name"] = hostile["recipe"]["summary"] = hostile["sheets"][0]["rows"][0]["name"] = markup
    hostile["commands"] = [{"line": markup, "purpose": markup}]
    call(blank, "card", MOUNT, hostile)
    assert blank.locator("img").count() == 0
    assert blank.inner_text("main").count(markup) >= 4
    assert blank.title() == "card"


def test_what_was_not_recorded_is_said(blank, told):
    call(blank, "card", MOUNT, {**told, "sheets": [], "curves": []})
    seen = blank.inner_text("main")
    assert "unveil evaluate RUN" in seen
    assert "kept no record" in seen


def test_the_card_of_a_page(look, small_page):
    page = look(small_page, "card", viewport={"width": 390, "height": 800})
    assert "unveil evaluate RUN" in page.inner_text("#panel-card")
    assert "parameters" in page.inner_text("#panel-card")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not clean(page)
