"""The plane and the manifold, by mouse, finger and keyboard."""

from math import log

import pytest
from helpers.pages import until

PICTURE = "document.querySelector('#panel-plane .made canvas').toDataURL()"
AT = "[...unveil.sight.at]"


def settled(page):
    """Lets what was asked of the model before be answered and drawn."""
    frames = "for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);"
    page.evaluate(f"async () => {{ await unveil.model.decode(unveil.sight.z(), 1); {frames} }}")


def box(page, selector="#plane-canvas"):
    page.locator(selector).scroll_into_view_if_needed()
    found = page.locator(selector).bounding_box()
    return lambda x, y: (found["x"] + x * found["width"], found["y"] + y * found["height"])


def test_dragging_changes_the_image_and_is_timed(look, small_page):
    page = look(small_page)
    at = box(page)
    settled(page)
    before, here = page.evaluate(PICTURE), page.evaluate(AT)
    page.mouse.move(*at(0.3, 0.3))
    page.mouse.down()
    for step in range(20):
        page.mouse.move(*at(0.3 + step / 50, 0.3))
    page.mouse.up()
    settled(page)
    assert page.evaluate(PICTURE) != before
    assert page.evaluate(AT) != here
    timing = page.evaluate("unveilTiming.summary()")
    assert timing["frame"]["count"] > 0
    assert timing["decode"]["count"] > 0


def test_what_is_shown_is_what_the_model_decodes_there(look, small_page):
    page = look(small_page)
    page.mouse.click(*box(page)(0.6, 0.4))
    settled(page)
    code = """async () => {
      const canvas = document.querySelector('#panel-plane .made canvas');
      const shown = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const due = unveil.picture(await unveil.model.decode(Float32Array.from(unveil.sight.at), 1)).data;
      return Math.max(...shown.map((value, at) => Math.abs(value - due[at])));
    }"""
    assert page.evaluate(code) == 0


def test_arrows_move_the_point_and_say_so(look, small_page):
    page = look(small_page)
    page.focus("#plane-canvas")
    x, y = page.evaluate(AT)
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate(AT)[0] > x
    assert page.evaluate(AT)[1] > y
    until(page, "document.getElementById('say').textContent.includes('z₁ = ')")
    half = page.evaluate("unveil.sight.lens.half")
    page.keyboard.press("+")
    assert page.evaluate("unveil.sight.lens.half") < half
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate("unveil.sight.lens.x") > 0
    page.keyboard.press("0")
    assert page.evaluate("unveil.sight.lens.half") == half


def test_a_wheel_zooms_about_the_mouse(look, small_page):
    page = look(small_page)
    page.mouse.move(*box(page)(0.75, 0.5))
    place = "(() => { const { x, half } = unveil.sight.lens; return [x + half / 2, half]; })()"
    before, half = page.evaluate(place)
    page.mouse.wheel(0, -400)
    until(page, f"unveil.sight.lens.half < {half}")
    assert page.evaluate(place)[0] == pytest.approx(before, abs=0.02 * half)


def test_a_finger_drags_and_two_zoom(look, small_page):
    page = look(small_page, viewport={"width": 390, "height": 844}, has_touch=True)
    at = box(page)
    client = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": name} for name, (x, y) in enumerate(points)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    here, half = page.evaluate(AT), page.evaluate("unveil.sight.lens.half")
    touch("touchStart", at(0.4, 0.4))
    touch("touchMove", at(0.6, 0.6))
    touch("touchEnd")
    assert page.evaluate(AT) != here
    assert page.evaluate("unveil.sight.lens.half") == half
    touch("touchStart", at(0.45, 0.5))
    touch("touchStart", at(0.45, 0.5), at(0.55, 0.5))
    touch("touchMove", at(0.3, 0.5), at(0.7, 0.5))
    touch("touchEnd")
    until(page, f"unveil.sight.lens.half < {half}")


def test_the_mouse_over_an_example_shows_it(look, small_page):
    page = look(small_page)
    at = box(page)
    side = page.evaluate("document.querySelector('#plane-canvas').clientWidth")
    x, y = page.evaluate(f"unveil.sight.lens.pixel(unveil.project(unveil.points.mean, 2 * 5), {side})")
    page.mouse.move(*at(x / side, y / side))
    assert page.locator("#panel-plane .tip").is_visible()
    page.mouse.move(5, 5)
    assert page.locator("#panel-plane .tip").is_hidden()


def test_classes_are_hidden_by_the_legend(look, small_page):
    page = look(small_page)
    image = "document.querySelector('#panel-plane .layer').toDataURL()"
    before = page.evaluate(image)
    page.locator(".legend button").first.click()
    assert page.locator(".legend button").first.get_attribute("aria-pressed") == "false"
    assert page.evaluate(image) != before
    page.locator(".legend button").first.click()
    assert page.evaluate(image) == before


def test_sliders_hold_the_other_dimensions(look, wide_page):
    page = look(wide_page)
    settled(page)
    kl = [float(text.split(", ")[1].split(" ")[0]) for text in page.locator(".slider label").all_text_contents()]
    assert len(kl) == 6
    assert kl == sorted(kl, reverse=True)
    page.get_by_role("button", name="Reset").click()
    settled(page)
    before, index = page.evaluate(PICTURE), page.evaluate("unveil.latent.dimensions[0].index")
    page.locator(".slider input").first.focus()
    for _ in range(12):
        page.keyboard.press("PageUp")
    settled(page)
    assert page.evaluate(PICTURE) != before
    value = float(page.locator(".slider output").first.inner_text().replace("−", "-"))
    assert page.evaluate(f"unveil.sight.z()[{index}]") == pytest.approx(value, abs=0.006)
    page.get_by_role("button", name="Reset").click()
    settled(page)
    assert page.evaluate(PICTURE) == before


def test_any_two_dimensions_span_the_plane(look, wide_page):
    page = look(wide_page)
    page.get_by_label("Across").select_option("4")
    assert page.get_by_label("Up").input_value() != "principal"
    page.get_by_label("Up").select_option("1")
    assert page.evaluate("unveil.sight.frame.names") == ["z₅", "z₂"]
    page.mouse.click(*box(page)(0.7, 0.3))
    at, z = page.evaluate(AT), page.evaluate("[...unveil.sight.z()]")
    assert [z[4], z[1]] == pytest.approx(at, abs=1e-5)
    until(page, "unveil.sight.contours.length === 4")
    lines = "unveil.sight.contours.find((one) => one.share === 0.75).lines.flat()"
    radius = page.evaluate(f"Math.max(...{lines}.map((point) => Math.hypot(...point)))")
    assert radius == pytest.approx((-2 * log(0.25)) ** 0.5, rel=0.12)  # of a standard normal
    page.get_by_label("Up").select_option("principal")
    assert page.get_by_label("Across").input_value() == "principal"


def test_the_manifold_is_drawn_anew_as_one_zooms(look, small_page):
    page = look(small_page, "manifold")
    image = "document.querySelector('#manifold-square canvas').toDataURL()"
    page.wait_for_timeout(400)
    before = page.evaluate(image)
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_timeout(400)
    assert page.evaluate(image) != before
    page.focus("#manifold-square canvas")
    page.keyboard.press("0")
    page.wait_for_timeout(400)
    assert page.evaluate(image) == before


def test_the_manifold_comes_a_few_rows_at_a_time(look, small_page):
    page = look(small_page, "manifold")
    count = int(page.locator("#panel-manifold select").first.input_value())
    decoded = "unveilTiming.calls.filter((call) => call.name === 'decode').map((call) => call.n)"
    until(page, f"{decoded}.reduce((sum, n) => sum + n, 0) >= {count**2}")
    assert max(page.evaluate(decoded)) <= 60
