"""What pictures show: tones as they are stored, ink for strokes alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from unveil import album, generation, pictures
from unveil.data import from_arrays, is_ink
from unveil.data.facts import facts_of
from unveil.data.ink import was_ink


def photographs(n=60):
    """Gray images, light above and darker below, with hardly a pixel that is black or white."""
    images = np.full((n, 1, 8, 8), 200, np.uint8)
    images[:, :, 5:] = 90
    return images + np.random.default_rng(0).integers(0, 20, images.shape, dtype=np.uint8)


def strokes(n=60):
    images = np.zeros((n, 1, 8, 8), np.uint8)
    images[:, :, 2:6, 3] = 255
    return images


@pytest.mark.parametrize(
    ("images", "measure", "ink"),
    [
        (strokes(), "binary", True),
        (255 - strokes(), "binary", False),
        (strokes(), "levels", False),
        (photographs(), "binary", False),
        (photographs() // 3, "binary", False),
        (photographs(), "levels", False),
        (np.repeat(strokes(), 3, 1), "binary", False),
    ],
)
def test_strokes_are_ink_and_nothing_else_is(images, measure, ink):
    data = from_arrays(images, measure=measure)
    assert is_ink(data) is ink
    assert was_ink(facts_of(data)) is ink


def test_named_images_are_drawn_as_they_were(digits, mnist):
    assert is_ink(digits)
    assert is_ink(mnist)
    assert was_ink({"measure": "binary", "shape": [1, 28, 28]})  # a manifest of before


def test_a_sheet_shows_what_is_stored_and_ink_the_other_way_round():
    images = photographs(4) / 255
    shown = pictures.sheet(images, 2)
    assert (shown[:8, :8, 0] == np.round(255 * images[0, 0])).all()
    assert (pictures.sheet(images, 2, ink=True)[:8, :8] == 255 - shown[:8, :8]).all()
    assert (shown[8] == 255).all()  # between two images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ink", [False, True])
def test_places_without_an_image_are_paper(channels, ink):
    images = np.zeros((3, channels, 4, 4), np.float32)
    shown = pictures.sheet(pictures.pairs(images, images, 2), 2, ink=ink)
    assert (shown[-9:, -4:] == 255).all()
    assert (shown[-4:, :4] == (255 if ink else 0)).all()


@pytest.mark.parametrize("measure", ["levels", "unit"])
def test_reconstructions_end_on_paper_in_every_space(measure, tmp_path, monkeypatch):
    """Levels are counted to 255: a white that stood for 1 came out black."""
    monkeypatch.setattr(generation, "reconstruct", lambda model, split: split.reading.mean(split.values[:]))
    data = from_arrays(np.repeat(photographs(), 3, 1), measure=measure)
    path = album.reconstructions(None, data, tmp_path / "r.png", count=3, columns=2)
    pixels = np.asarray(Image.open(path))
    assert pixels[-1, -1].tolist() == [255, 255, 255]
    assert 90 <= pixels[-1, 0].min() < 110  # the darker part of what stands before it


@pytest.mark.parametrize("channels", [1, 3])
def test_one_image_keeps_its_pixels(channels, tmp_path):
    image = np.repeat(strokes(1)[0], channels, 0)
    path = pictures.save_image(image / 255, tmp_path / "one.png")
    found = np.asarray(Image.open(path)).reshape(8, 8, -1)
    assert (found == image.transpose(1, 2, 0)).all()


def test_maps_lie_below_images_in_their_own_tones(tmp_path):
    images = torch.tensor(photographs(2) / 255)
    path = album.maps(images, torch.zeros_like(images), tmp_path / "m.png", columns=2)
    pixels = np.asarray(Image.open(path))
    assert pixels[0, 0].tolist() == 3 * [round(255 * float(images[0, 0, 0, 0]))]
    assert (pixels[-1] == 255).all()
