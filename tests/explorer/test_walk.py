"""Walk: points that are picked by mouse and keyboard, and the pictures on the way, on the page and as files."""

import io

import numpy as np
from helpers.pages import until
from helpers.scripts import clean
from PIL import Image


def walked(page, count):
    until(page, f"document.querySelectorAll('.chips li').length === {count}")
    until(page, "document.querySelector('.strip').dataset.count > 0")
    page.wait_for_timeout(200)


def saved(page, button):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    return Image.open(io.BytesIO(waiting.value.path().read_bytes())), waiting.value.suggested_filename


def test_a_walk_begins_with_two_examples_and_is_saved(look, small_page):
    page = look(small_page, "walk", reduced_motion="reduce")
    walked(page, 2)
    strip, name = saved(page, "Save as PNG")
    assert name == "walk.png"
    film, name = saved(page, "Save as GIF")
    assert name == "walk.gif"
    assert film.n_frames == 48  # 25 there, 23 back
    assert film.size == (224, 224)
    first = np.array(film.convert("L"))
    durations = []
    for at in range(film.n_frames):
        film.seek(at)
        durations.append(film.info["duration"])
        if at == 24:
            middle = np.array(film.convert("L"))
    assert durations == [600, *[70] * 23, 600, *[70] * 23]
    assert np.abs(first.astype(int) - middle).mean() > 1  # another picture
    shown = np.array(strip.convert("L")).astype(int)
    assert np.unique(shown).size > 2
    assert not clean(page)


def test_points_are_added_moved_and_taken_away(look, small_page):
    page = look(small_page, "walk", reduced_motion="reduce")
    walked(page, 2)
    box = page.locator("#panel-walk .little").bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + 20)
    walked(page, 3)
    assert page.get_attribute(".strip", "aria-label").count(" to ") == 3  # two legs, and 'to the next'
    third = page.inner_text(".chips li:nth-child(3)")
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 30, steps=4)
    page.mouse.up()
    walked(page, 3)
    assert page.inner_text(".chips li:nth-child(3)") != third
    page.get_by_role("button", name="Remove point 1").click()
    walked(page, 2)
    page.get_by_role("button", name="Start over").click()
    until(page, "document.querySelector('.strip').hidden")


def test_a_walk_by_keyboard(look, small_page):
    page = look(small_page, "walk", reduced_motion="reduce")
    walked(page, 2)
    page.focus("#panel-walk .little")
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    walked(page, 3)
    assert "Point 3" in page.inner_text("#say")
    page.focus(".thumb")
    page.keyboard.press("Enter")
    walked(page, 4)


def test_motion_is_for_those_who_want_it(look, small_page):
    moving = look(small_page, "walk")
    until(moving, "document.querySelector('.player button').textContent === 'Pause'")
    until(moving, "document.querySelector('.player input').value > 3")
    moving.click(".player button")
    assert moving.inner_text(".player button") == "Play"
    still = look(small_page, "walk", reduced_motion="reduce", viewport={"width": 390, "height": 800})
    walked(still, 2)
    still.wait_for_timeout(300)
    assert still.input_value(".player input") == "0"
    assert still.inner_text(".player button") == "Play"
    assert still.evaluate("document.documentElement.scrollWidth") <= 390


def test_more_dimensions_are_walked_along_the_sphere(look, wide_page):
    page = look(wide_page, "walk", reduced_motion="reduce")
    walked(page, 2)
    way = page.get_by_label("Way", exact=True)
    assert way.input_value() == "spherical"
    before = page.evaluate("document.querySelector('.strip').toDataURL()")
    way.select_option("straight")
    until(page, "document.querySelector('.strip').dataset.count > 1")
    assert page.evaluate("document.querySelector('.strip').toDataURL()") != before
    assert page.title() != "owned"
