"""The rendered shapes are what their factors say, each once, and the same bytes everywhere."""

import hashlib
from itertools import product

import numpy as np
import pytest
import torch

import unveil
from unveil.data import shapes


@pytest.fixture(scope="module")
def drawn():
    return shapes.images(), shapes.factors()


def test_every_combination_is_there_once_and_no_two_images_are_the_same(drawn):
    images, factors = drawn
    assert images.shape == (9_600, 28, 28)
    assert images.dtype == np.uint8
    every = product(range(3), range(4), range(8), range(10), range(10))
    assert factors.tolist() == [list(one) for one in every]
    assert len({image.tobytes() for image in images}) == 9_600


def test_the_bytes_are_the_same_on_every_platform(drawn):
    digest = hashlib.sha256(drawn[0].tobytes()).hexdigest()
    assert digest == "59922af505bc75156cb830146eb1dc6db7e15de6581ee235b94e6b0028de695b"


def test_size_is_area_and_nothing_is_cut_off(drawn):
    images = drawn[0]
    points = np.rint(images * (64 / 255)).sum((1, 2)).reshape(3, 4, 8, 100)
    assert (points == points[..., :1]).all()  # the points inside are the same wherever the shape stands
    area = 4 * (np.array(shapes.SIZES) / 16) ** 2
    # points on the edge of an upright square of odd size count in full: 3 percent
    assert np.abs(points / 64 / area[:, None, None] - 1).max() < 0.03
    assert (np.diff(points[..., 0].mean(2), axis=1) > 0).all()


def test_x_and_y_are_the_centre_of_mass(drawn):
    images, factors = drawn
    mass, place = images.sum((1, 2), dtype=float), np.arange(28) + 0.5
    x, y = (images.sum(axis, dtype=float) @ place / mass for axis in (1, 2))
    assert np.abs(x - (14 + 1.5 * (factors[:, 3] - 4.5))).max() < 0.05
    assert np.abs(y - (14 + 1.5 * (factors[:, 4] - 4.5))).max() < 0.05


def inside(shape, size, u, v):
    """Which points are inside, in pixels and in real numbers, by another way than the one that draws."""
    if shape == 0:
        return np.maximum(abs(u), abs(v)) < size
    if shape == 1:
        a = (8 / np.pi) ** 0.5 * size
        return (u / a) ** 2 + (2 * v / a) ** 2 < 1
    g = 2 * size / (4 + np.pi) ** 0.5
    z = (u + 1j * v) * np.exp(-0.25j * np.pi)  # seen along the upper right side and the upper left one
    z += g * (np.pi / 2 + 2 / 3) / (4 + np.pi) * (1 + 1j)  # a half disc weighs pi g^2 / 2 at g + 4 g / (3 pi)
    square = np.maximum(abs(z.real), abs(z.imag)) < g
    return square | (abs(z - g) < g) | (abs(z - 1j * g) < g)


@pytest.mark.parametrize("shape", range(3))
def test_each_image_is_the_coverage_of_its_shape_at_its_orientation(drawn, shape):
    images, factors = drawn
    fine = (np.arange(28 * 32) + 0.5) / 32
    for size, turn, x, y in [(0, 0, 0, 9), (1, 1, 4, 4), (2, 5, 9, 0), (3, 3, 2, 7), (3, 7, 6, 6)]:
        right, up = fine[None] - (14 + 1.5 * (x - 4.5)), (14 + 1.5 * (y - 4.5)) - fine[:, None]
        z = (right + 1j * up) * np.exp(-1j * np.pi / 16 * turn)
        covered = inside(shape, shapes.SIZES[size] / 16, z.real, z.imag).reshape(28, 32, 28, 32).mean((1, 3))
        image = images[(factors == [shape, size, turn, x, y]).all(1)][0] / 255
        assert np.abs(image - covered).max() < 0.09
        assert np.abs(image - covered).mean() < 0.002


def test_the_data_set_is_loaded_by_name(drawn):
    data = unveil.load("shapes")
    assert [len(data.split(name)) for name in data.splits] == [7_680, 960, 960]
    assert data.loadable
    assert data.factors == ("shape", "size", "orientation", "x", "y")
    assert data.ordered == ("size", "orientation", "x", "y")
    rows = torch.cat([data.split(name).rows for name in data.splits])
    assert torch.equal(rows.sort().values, torch.arange(9_600))
    images, factors = map(torch.from_numpy, drawn)
    for name in data.splits:
        split = data.split(name)
        assert torch.equal(split.values[:, 0], images[split.rows])
        assert torch.equal(split.factors, factors[split.rows])
        assert torch.equal(split.labels, split.factors[:, 0])
    assert str(data.space) == "1x28x28, 0 or 1, counted"
    assert unveil.load("shapes", measure="unit").space.measure == "unit"
    assert unveil.load("shapes").fingerprint == data.fingerprint
