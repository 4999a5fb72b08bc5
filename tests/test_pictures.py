"""What pictures show: tones as they are stored, ink for strokes alone, and labels that can be read."""

from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from unveil import album, generation, pictures
from unveil.data import from_arrays, is_ink
from unveil.data.facts import facts_of
from unveil.data.ink import was_ink
from unveil.pictures.labels import apart


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


def covered(figure, axes):
    """How many pairs of labels lie on each other."""
    figure.draw_without_rendering()
    boxes = [(one.get_bbox_patch() or one).get_window_extent() for one in axes.texts if one.get_text()]
    assert len(boxes) > 1
    return sum(bool(first.overlaps(second)) for first, second in combinations(boxes, 2))


def test_boxes_make_room_and_stay_where_they_can():
    centres = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.5], [50.0, 0.0]])
    sizes = np.array([[10.0, 4.0]] * 4)
    found = apart(centres, sizes, gap=1.0)
    for first, second in combinations(found, 2):
        assert (np.abs(first - second) >= sizes[0] + 1 - 1e-3).any()
    assert found[3].tolist() == [50.0, 0.0]
    assert np.abs(found - centres).max() < 10
    upright = apart(centres, np.array([[np.inf, 4.0]] * 4))
    assert (upright[:, 0] == centres[:, 0]).all()
    assert (np.diff(np.sort(upright[:, 1])) > 4 - 1e-3).all()


def test_classes_that_lie_together_have_names_that_do_not():
    points = np.random.default_rng(0).normal(size=(40, 2)) / 100
    points[0] = 3
    labels = np.arange(40) % 4
    names = ("automobile", "aeroplane", "ship", "frog")
    figure = pictures.latent_plane(points, labels, "t", "n", ("a", "b"), names)
    axes = figure.axes[0]
    assert covered(figure, axes) == 0
    assert {one.get_text() for one in axes.texts} >= set(names)


def record(epoch, distortion, rate):
    said = {"distortion": distortion, "rate": rate, "neg_elbo": distortion + rate}
    return {"epoch": epoch, "step": epoch, **said, "validation": {name: 1.01 * value for name, value in said.items()}}


def test_curves_fill_their_axes_and_their_labels_can_be_read():
    """Beside 15,000 nats of distortion half a nat of rate cannot be seen on one axis, nor can their own change above 0."""
    records = [record(1, 90_000.0, 0.1), *[record(epoch, 15_000 - 10 * epoch, 0.05 * epoch) for epoch in range(2, 12)]]
    figure = pictures.curves(records, "t", "n")
    cost, rate = figure.axes
    assert cost.get_ylim() == pytest.approx((14_890, 15_130.2), abs=30)
    assert rate.get_ylim() == pytest.approx((0.1, 0.5555), abs=0.05)
    assert covered(figure, cost) == 0
    assert [one.get_text() for one in (*cost.texts[1:], *rate.texts)] == ["-ELBO 15,039", "distortion 15,039", "rate 0.556"]


def test_curves_of_one_epoch_and_without_a_rate_are_drawn(tmp_path):
    figure = pictures.curves([{"epoch": 1, "step": 3, "distortion": 5.0}], "t", "n")
    assert len(figure.axes) == 1
    pictures.save(figure, tmp_path / "c.png")
    missing = [{"epoch": n, "step": n, "distortion": None if n == 2 else 5.0 - n, "rate": 1.0} for n in (1, 2, 3)]
    pictures.save(pictures.curves(missing, "t", "n"), tmp_path / "c.png")


def test_the_grid_of_a_plane_says_its_quantiles_in_full():
    levels = [(i + 0.5) / 20 for i in range(20)]
    (axes,) = pictures.manifold(np.zeros((40, 40, 1), np.uint8), levels, "", "", ("a", "b")).axes
    for axis in (axes.xaxis, axes.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()][:3] == ["2.5%", "17.5%", "32.5%"]
