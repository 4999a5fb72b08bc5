"""The page itself: it asks nobody for anything, what it says is text, its model is the model, and everybody can use it."""

import base64
import gzip
import hashlib
import json
import re

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.scripts import call

from unveil.explorer.dense import dense
from unveil.explorer.modules import joined
from unveil.explorer.writing import PAGE, policy

VIEWS = ("plane", "manifold", "draw", "walk", "sample", "card")


def known(text):
    return json.loads(re.search(r'<script type="application/json" id="know">(.*?)</script>', text, re.DOTALL)[1])


DECODE = "async ([z, n]) => Array.from(await unveil.model.decode(Float32Array.from(z), n))"
ENCODE = """async ([x, n]) => {
  const { mean, scale } = await unveil.model.encode(Float32Array.from(x), n);
  return [[...mean], [...scale]];
}"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@torch.no_grad()
def test_the_page_decodes_and_encodes_as_the_model_does(look, small, small_page, graphs_of):
    page = look(small_page)
    z = 2 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    few = small.load_data().test.subset(torch.arange(4))
    x = few.reading.mean(few.values[:])
    decoded = torch.tensor(page.evaluate(DECODE, [z.flatten().tolist(), len(z)]))
    mean, scale = map(torch.tensor, page.evaluate(ENCODE, [x.flatten().tolist(), len(x)]))
    # the page has the graphs' numbers to rounding, and the model's but for its weights, which travel in half precision
    run = lambda graph, **given: onnxruntime.InferenceSession(graph.onnx).run(None, given)  # noqa: E731
    graphs = graphs_of(small)
    assert np.abs(decoded.numpy() - run(graphs.decode, z=z.numpy())[0].ravel()).max() < 1e-5
    assert np.abs(mean.numpy() - run(graphs.encode, x=x.numpy())[0].ravel()).max() < 1e-4
    posterior = small.model.encode(x)
    for found, exact in ((decoded, small.model.decode(z).mean), (mean, posterior.mean), (scale, posterior.stddev)):
        assert (found - exact.flatten()).abs().max() < 5e-3


def test_draws_of_the_prior_have_its_moments(look, small_page):
    z = torch.tensor(look(small_page).evaluate("async () => Array.from(await unveil.model.prior(4000, 7))")).reshape(-1, 2)
    # a standard normal's: each of five figures within 4 standard errors, wrong once in 3,000 seeds, and the seed is fixed
    assert (z.mean(0).abs() < 4 / 4000**0.5).all()
    assert ((z.var(0) - 1).abs() < 4 * (2 / 4000) ** 0.5).all()
    assert abs(float((z[:, 0] * z[:, 1]).mean())) < 4 / 4000**0.5


@pytest.mark.parametrize("content", [b"", b"\x00", bytes(range(256)) * 3, b"\x00\x0d\x3c<!--</script>" * 5])
def test_dense_text_comes_back_from_a_parser_of_html(browser, content):
    text = dense(content)
    assert "<" not in text
    assert "\r" not in text
    assert "\x00" not in text
    page = browser.new_page()
    page.set_content(f"<meta charset=utf-8><script type='text/plain' id=t>{text}</script>")
    assert bytes(call(page, "dense", f"[...exported.undense(t.textContent, {len(content)})]")) == content
    page.close()


def test_vendored_files_are_those_whose_hashes_are_written_down():
    said = dict(re.findall(r"\| `([\w.-]+)`.*\| ([0-9a-f]{64}) \|", (PAGE / "vendor" / "README.md").read_text()))
    assert len(said) == 3
    for name, digest in said.items():
        packed = PAGE / "vendor" / f"{name}.gz"
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else (PAGE / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_names_are_text_wherever_they_come_from(look, wide_page):
    page = look(wide_page)
    for view in VIEWS:
        page.click(f"#tab-{view}")
        page.wait_for_timeout(100)
    assert page.locator("img").count() == 0
    assert page.title() != "owned"
    assert "<img src=x" in page.inner_text("h1")
    assert page.locator(".legend button").first.inner_text().startswith("<img src=x")


def test_no_text_ends_an_element_of_the_page(wide, wide_page):
    text = wide_page.read_text()
    assert known(text)["facts"]["data"]["name"].startswith("<img")
    assert text.count("<script") == text.count("</script>") == 5
    assert "<img" not in text


def test_the_policy_lets_nothing_out_and_nothing_else_run(look, small_page):
    page, seen = look(small_page), look.seen[-1]
    assert policy().startswith("default-src 'none'")
    assert "unsafe-inline" not in policy().split("style-src")[0]
    tried = "fetch('https://example.com/').then(() => 'sent', () => 'stopped')"
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert page.evaluate(tried) == "stopped"
    seen.errors.clear()  # the attempt was the test's own
    seen.requests.clear()


def test_a_page_without_data_has_none(small, small_page, bare_page):
    said = known(bare_page.read_text())["latent"]
    assert said["points"] is None
    assert said["pictures"] is None
    shown = known(small_page.read_text())["latent"]
    assert shown["points"]["count"] == len(small.load_data().test)
    mean = np.frombuffer(base64.b64decode(shown["points"]["mean"]), "<f4").reshape(-1, 2)
    assert np.isfinite(mean).all()
    assert len(mean) == shown["points"]["count"]


def test_a_page_without_data_works(look, bare_page):
    opened = look(bare_page)
    assert "no examples" in opened.inner_text("#whose")
    for view in VIEWS:
        opened.click(f"#tab-{view}")
        assert opened.locator(f"#panel-{view}").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_every_view_is_accessible_and_fits(look, small_page, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = look(small_page, viewport={"width": width, "height": 844}, color_scheme=theme, reduced_motion="reduce")
    for view in VIEWS:
        page.click(f"#tab-{view}")
        page.wait_for_timeout(150)
        found = axe.run(page, options=RULES).response["violations"]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_tabs_follow_keys_and_the_address(look, small_page):
    page = look(small_page, "sample")
    assert page.get_attribute("#tab-sample", "aria-selected") == "true"
    page.focus("#tab-sample")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("location.hash") == "#card"
    assert page.locator("#panel-card").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-plane"
    page.evaluate("location.hash = 'walk'")
    page.wait_for_selector("#panel-walk", state="visible")


def test_a_switch_changes_the_theme(look, small_page):
    page = look(small_page, color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != light
    assert page.inner_text("#theme") == "Light"


def test_paper_is_light(look, small_page):
    page = look(small_page, color_scheme="dark")
    ground, dots = (
        "getComputedStyle(document.documentElement).backgroundColor",
        "document.querySelector('.layer').toDataURL()",
    )
    dark, seen = page.evaluate(ground), page.evaluate(dots)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(ground) != dark
    assert page.evaluate(dots) != seen
    assert page.locator(".tabs").is_hidden()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate(dots) == seen


def test_fingers_find_room(look, wide_page):
    page = look(wide_page, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, reduced_motion="reduce")
    heights = """[...document.querySelectorAll("button, select, input[type=number], input[type=range], summary, .check")]
        .filter((one) => one.offsetParent).map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height])"""
    for view in VIEWS:
        page.evaluate(f"location.hash = '{view}'")
        page.wait_for_selector(f"#panel-{view}", state="visible")
        assert [one for one in page.evaluate(heights) if one[1] < 44] == []


def test_modules_that_cannot_be_joined_are_refused(tmp_path):
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = b;\n')
    (tmp_path / "b.js").write_text("export const b = 1;\n")
    assert joined(tmp_path, "a").index("const b = 1") < joined(tmp_path, "a").index("const a = b")
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a;\n')
    with pytest.raises(ValueError, match="imports itself"):
        joined(tmp_path, "a")
    (tmp_path / "b.js").write_text("export default 1;\n")
    with pytest.raises(ValueError, match="cannot be joined"):
        joined(tmp_path, "a")
