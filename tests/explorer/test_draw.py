"""Draw: a pen in the real browser, and what the model makes of it."""

import io

import pytest
import torch
from helpers.pages import until
from helpers.scripts import THREE, clean, pen
from PIL import Image

import unveil
from unveil.explorer import write_page
from unveil.recipes import RECIPES


@pytest.fixture(scope="module")
def skilled(mnist, tmp_path_factory):
    """A model that has learnt MNIST's digits for a few seconds."""
    short = RECIPES["mnist-2d"].given(hidden=(128, 64))
    return unveil.train(mnist, short, epochs=3, batch_size=500, out=tmp_path_factory.mktemp("runs") / "skilled")


@pytest.fixture(scope="module")
def skilled_page(skilled, mnist, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "skilled.html"
    write_page(skilled, path, mnist)
    return path


def weighed(page):
    until(page, "document.querySelector('.evidence .big').textContent.includes('≈')")
    until(page, "document.querySelector('#panel-draw [aria-busy]').getAttribute('aria-busy') === 'false'")
    return page.inner_text(".evidence")


def test_a_three_lies_nearest_to_threes(look, skilled_page):
    page = look(skilled_page, "draw")
    pen(page, THREE)
    text = weighed(page)
    assert page.get_attribute(".nearest", "data-label") == "3"
    assert "nats" in text
    assert "K = 128" in text
    assert "black-and-white reading" in text
    assert page.locator(".thumbs figure").count() == 6
    assert not clean(page)
    page.get_by_role("button", name="Clear").click()
    until(page, "document.querySelector('.nearest').textContent === ''")


def test_the_estimate_is_that_of_the_model(look, skilled, skilled_page):
    """With the page's own noise, to a thousandth: the page keeps weights in half precision."""
    page = look(skilled_page, "draw")
    page.evaluate("""() => {
        const send = unveil.model.send.bind(unveil.model);
        unveil.model.send = async (message) => {
            const found = await send(message);
            if (message.name !== "weigh") return found;
            const { x, normal } = message.feeds;
            window.weighed = { x: x.data, normal: normal.data, log_w: found.outputs.log_w };
            return found;
        };
    }""")
    pen(page, THREE)
    text = weighed(page)
    found = {name: torch.tensor(value) for name, value in page.evaluate("window.weighed").items()}
    x, normal = found["x"].reshape(1, 1, 28, 28), found["normal"].reshape(128, 2)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    model = skilled.model.eval()
    with torch.no_grad():
        posterior = model.encode(x)
        z = posterior.mean + posterior.stddev * normal
        log_p = model.prior(None, None).log_prob(z) + model.decode(z).log_prob(x)
        log_w = log_p - posterior.log_prob(z)
    assert torch.allclose(found["log_w"], log_w, rtol=1e-3, atol=0.02)
    estimate = float(log_w.double().logsumexp(0)) - torch.log(torch.tensor(128.0)).item()
    said = float(text.split("≈")[1].split("nats")[0].replace("−", "-"))
    assert said == pytest.approx(estimate, rel=1e-3, abs=0.06)


def test_drawing_by_keyboard(look, small_page):
    page = look(small_page, "draw")
    page.focus(".pad")
    page.keyboard.press(" ")
    assert page.inner_text("#say") == "Pen down"
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    weighed(page)
    before = page.inner_text(".evidence .big")
    page.keyboard.press("Control+z")
    until(page, "!document.querySelector('.evidence .big').textContent.includes('≈')")
    assert page.inner_text(".evidence .big") != before


def test_drawing_by_touch(look, small_page):
    page = look(small_page, "draw", has_touch=True, viewport={"width": 390, "height": 800})
    box = page.locator(".pad").bounding_box()
    session = page.context.new_cdp_session(page)
    for kind, points in [
        ("touchStart", [(0.5, 0.2)]),
        ("touchMove", [(0.5, 0.5)]),
        ("touchMove", [(0.5, 0.8)]),
        ("touchEnd", []),
    ]:
        touches = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    weighed(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not clean(page)


def image_of(invert):
    """A white cross on black, or the other way round, as a PNG."""
    image = Image.new("RGB", (120, 90), "white" if invert else "black")
    image.paste("black" if invert else "white", (55, 20, 65, 70))
    image.paste("black" if invert else "white", (35, 40, 85, 50))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pixels(page):
    return page.evaluate("""() => {
        const canvas = document.querySelector('[aria-label="What the model sees"]');
        return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
    }""")


def test_an_image_is_read_light_on_dark_and_dark_on_light(look, small_page):
    page = look(small_page, "draw")
    seen = []
    for invert in (False, True):
        page.set_input_files(
            "input[type=file]", {"name": "<b>cross.png", "mimeType": "image/png", "buffer": image_of(invert)}
        )
        until(page, "document.querySelector('#invert').checked === " + ("true" if invert else "false"))
        weighed(page)
        seen.append(pixels(page))
        assert "<b>cross.png" in page.inner_text("#panel-draw")
    assert len(set(seen[0])) > 2
    assert seen[0] == seen[1]


def test_what_is_no_image_is_refused_in_one_line(look, small_page):
    page = look(small_page, "draw")
    page.set_input_files("input[type=file]", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"})
    page.get_by_role("tabpanel").get_by_text("notes.txt is no image that this browser can read").wait_for()
    page.evaluate("""() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(21e6)], "huge.png", { type: "image/png" }));
        document.querySelector(".pad").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }""")
    page.get_by_role("tabpanel").get_by_text("huge.png has 21 MB; take one below 20 MB.").wait_for()
