"""Sample: the same seed gives the same sheet, another one another, of the class that was asked for."""

import io

import numpy as np
import pytest
import torch
from helpers.pages import until
from helpers.scripts import clean
from PIL import Image

import unveil
from unveil.data import from_arrays
from unveil.explorer import write_page
from unveil.recipes import RECIPES


@pytest.fixture(scope="module")
def classes_page(tmp_path_factory):
    """A model that is told one of two classes: its upper or its lower half is white."""
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (400,), generator=source)
    images = torch.zeros(400, 1, 8, 8)
    images[labels == 0, :, :4] = 255
    images[labels == 1, :, 4:] = 255
    data = from_arrays(images.to(torch.uint8), labels, name="halves")
    short = RECIPES["cvae"].given(latent=2, hidden=(32,))
    run = unveil.train(data, short, epochs=30, batch_size=40, out=tmp_path_factory.mktemp("runs") / "classes")
    path = tmp_path_factory.mktemp("explorer") / "classes.html"
    write_page(run, path, None)
    return path


def sheet(page, seed):
    """The sheet when it is that of a seed."""
    until(page, f"document.querySelector('.sheet').dataset.seed === '{seed}'")
    page.wait_for_timeout(150)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as PNG").click()
    assert waiting.value.suggested_filename == f"samples-seed-{seed}.png"
    return np.array(Image.open(io.BytesIO(waiting.value.path().read_bytes())).convert("L"))


def ask(page, seed):
    page.fill("#panel-sample input[type=number]", str(seed))
    page.keyboard.press("Enter")


def test_a_seed_gives_its_sheet_again(look, small_page):
    page = look(small_page, "sample")
    first = sheet(page, 0)
    ask(page, 7)
    other = sheet(page, 7)
    ask(page, 0)
    again = sheet(page, 0)
    assert (first == again).all()
    assert (first != other).any()
    elsewhere = look(small_page, "sample")
    assert (sheet(elsewhere, 0) == first).all()
    page.get_by_role("button", name="New seed").click()
    until(page, "document.querySelector('.sheet').dataset.seed !== '0'")
    assert not clean(page)


def test_samples_and_their_means(look, small_page):
    page = look(small_page, "sample", viewport={"width": 390, "height": 800})
    sheet(page, 0)
    page.get_by_label("How many").select_option("16")
    until(page, "document.querySelector('.sheet').getAttribute('aria-label').startsWith('16 ')")
    means = sheet(page, 0)
    page.get_by_label("What is shown").select_option("x")
    until(page, "document.querySelector('#panel-sample').textContent.includes('Each pixel is drawn at random')")
    samples = sheet(page, 0)
    assert means.shape == samples.shape
    assert np.unique(means).size > 10
    assert set(np.unique(samples)) == {0, 255}  # binary pixels
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("wrong", ["-3", "1e12", ""])
def test_what_is_no_seed_becomes_one(look, small_page, wrong):
    page = look(small_page, "sample")
    sheet(page, 0)
    ask(page, wrong)
    until(page, "document.querySelector('#panel-sample input[type=number]').value === '0'")


def test_a_class_that_is_asked_for(look, classes_page):
    """Without any data in the page."""
    page = look(classes_page, "sample")
    for label, upper in (("0", True), ("1", False)):
        page.get_by_label("Class").last.select_option(label)
        until(page, f"document.querySelector('.sheet').getAttribute('aria-label').includes('of {label} ')")
        seen = sheet(page, 0).astype(int)
        size = (len(seen) - 4) // 8
        dark = 255 - np.stack([seen[4 + size * row : size * (row + 1), 4:size] for row in range(8)]).mean(0)
        half = len(dark) // 2
        assert (dark[:half].mean() > dark[half:].mean()) == upper
    page.evaluate("location.hash = 'walk'")
    until(page, "document.querySelector('.strip').dataset.count > 0")
    page.evaluate("location.hash = 'draw'")
    page.locator(".pad").click()
    until(page, "document.querySelector('.evidence .big').textContent.includes('log p(x|y) ≈')")
