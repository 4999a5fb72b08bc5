"""What the views compute, each module by itself in the browser: pictures as files, ink, ways, estimates."""

import io
from dataclasses import asdict

import numpy as np
import pytest
import torch
from helpers.scripts import THREE, call
from PIL import Image

from unveil.distributions.hyperbolic import Geodesic
from unveil.distributions.ways import Spherical, Straight


@pytest.fixture(scope="module")
def blank(browser):
    page = browser.new_page()
    yield page
    page.close()


def gif_of(blank, frames, delays):
    """An animation as Pillow reads it: sizes, frames (N, H, W, 3), and how long each stands."""
    count, height, width, _ = frames.shape
    opaque = np.concatenate([frames, np.full((count, height, width, 1), 255, np.uint8)], 3)
    given = {"frames": opaque.reshape(count, -1).tolist(), "width": width, "height": height, "delays": delays}
    made = call(blank, "gif", "[...exported.gif(given.frames, given.width, given.height, given.delays)]", given)
    image = Image.open(io.BytesIO(bytes(made)))
    seen, stood = [], []
    for at in range(image.n_frames):
        image.seek(at)
        seen.append(np.array(image.convert("RGB")))
        stood.append(image.info["duration"])
    assert image.info["loop"] == 0
    return np.stack(seen), stood


@pytest.mark.parametrize(("levels", "shape"), [(1, (2, 4, 5)), (2, (3, 16, 16)), (256, (4, 23, 37)), (256, (2, 90, 110))])
def test_a_gif_has_the_very_pixels(blank, levels, shape):
    source = np.random.default_rng(0)
    gray = source.integers(0, levels, shape).astype(np.uint8) * (255 // max(1, levels - 1))
    frames = np.repeat(gray[..., None], 3, 3)
    delays = [70, *[120] * (len(frames) - 1)]
    seen, stood = gif_of(blank, frames, delays)
    assert stood == delays
    assert (seen == frames).all()


def codes_of(data):
    """Strictly by the specification: the depth of an only frame's codes, and whether they end where their end is marked."""
    table = 1 << (data[10] & 7) + 1
    at = 13 + 3 * table + 19 + 8 + 10
    depth, at, bits = data[at], at + 1, ""
    while data[at]:
        bits = "".join(f"{byte:08b}" for byte in reversed(data[at + 1 : at + 1 + data[at]])) + bits
        at += 1 + data[at]
    width, known, place, before = depth + 1, (1 << depth) + 2, len(bits), False
    while True:
        code = int(bits[place - width : place], 2)
        place -= width
        if code == (1 << depth) + 1:
            return place < 8 and not bits[:place].strip("0")
        if code == 1 << depth:
            width, known, before = depth + 1, (1 << depth) + 2, False
            continue
        known += before and known < 4096
        before = True
        width += known == 1 << width and width < 12


def test_a_gif_ends_where_it_says(blank):
    """Whatever its length, so that every width of a code is the last one somewhere."""
    script = """Array.from({ length: 320 }, (_, at) => {
        const frame = Uint8ClampedArray.from({ length: 4 * (at + 1) }, (_, one) => ((one >> 2) * 89 * (at + 3)) % 4 * 80);
        return [...exported.gif([frame], at + 1, 1, [100])];
    })"""
    assert all(map(codes_of, call(blank, "gif", script)))


def test_strokes_on_an_empty_ground_are_told_from_photographs(blank):
    script = "exported.handwritten({ image: given.image, pictures: { count: 2, x: () => given.x } })"
    ink = [0.0] * 25
    ink[12] = 255.0
    image = {"ink": False, "shape": [1, 5, 5], "white": 255}
    assert call(blank, "given", script, {"image": image, "x": ink})
    assert not call(blank, "given", script, {"image": image, "x": [90.0] * 25})
    assert not call(blank, "given", script, {"image": {**image, "shape": [3, 5, 5]}, "x": ink * 3})


def test_a_gif_of_many_colours_has_near_ones(blank):
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    frames = np.stack([np.stack([4 * x, 5 * y, np.full_like(x, 60 * at)], -1) for at in range(3)]).astype(np.uint8)
    seen, _ = gif_of(blank, frames, [100] * 3)
    away = np.abs(seen.astype(int) - frames)
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) <= 256
    assert away.max() < 32
    assert away.mean() < 8


def test_ink_is_prepared_as_mnist_was(blank):
    """Fitted into 20 x 20, its centre of mass in the middle of 28 x 28, wherever it is drawn."""
    small = [[[0.05 + 0.2 * x, 0.7 + 0.2 * y] for x, y in stroke] for stroke in THREE]
    made = []
    for strokes in (THREE, small):
        image = call(blank, "ink", "exported.drawn(given, 28, 28, true)", strokes)
        values = np.array(image["values"]).reshape(28, 28)
        rows, columns = np.nonzero(values > 0.05)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        share = values / values.sum()
        middle = [(share.sum(axis) * (np.arange(28) + 0.5)).sum() for axis in (0, 1)]
        assert np.abs(np.array(middle) - 14).max() <= 0.5 + 1e-6
        assert ((values > 0.1) & (values < 0.9)).any()  # gray rims
        made.append(values)
    assert np.abs(made[0] - made[1]).mean() < 0.02


def test_a_smaller_picture_is_the_mean_of_what_it_covers(blank):
    pixels = np.random.default_rng(0).random((21, 30))
    given = {"values": pixels.ravel().tolist(), "width": 30, "height": 21}
    part = {"x": 0, "y": 0, "width": 30, "height": 21}
    small = call(blank, "ink", "exported.resized(given.image, given.part, 10, 7)", {"image": given, "part": part})
    expected = pixels.reshape(7, 3, 10, 3).mean((1, 3))
    assert np.allclose(np.array(small["values"]).reshape(7, 10), expected, atol=1e-6)
    uneven = call(blank, "ink", "exported.resized(given.image, given.part, 8, 5)", {"image": given, "part": part})
    assert np.mean(uneven["values"]) == pytest.approx(pixels.mean(), abs=1e-6)


def test_nothing_drawn_is_nothing(blank):
    assert set(call(blank, "ink", "exported.drawn([], 28, 28, true)")["values"]) == {0}


@pytest.mark.parametrize("way", [Straight(), Spherical(), Geodesic(0.3), Geodesic(1.0), Geodesic(4.0)], ids=str)
def test_ways_are_those_of_the_library(blank, way):
    """From a point of every ball to another, to itself, and from the middle, where there is no circle."""
    source = torch.Generator().manual_seed(0)
    a, b = 0.28 * torch.randn(2, 3, generator=source, dtype=torch.float64).clamp(-1, 1)
    shares = torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(1)
    for first, last in ((a, b), (a, a), (0 * a, b), (a, -a)):
        given = {"a": first.tolist(), "b": last.tolist(), "way": {"name": way.name, **asdict(way)}}
        found = call(blank, "between", "exported.route([given.a, given.b], 8, exported.wayOf(given.way))", given)
        assert torch.allclose(torch.tensor(found, dtype=torch.float64), way.between(first, last, shares), atol=1e-12)


def test_a_closed_way_comes_back_without_repeating_its_start(blank):
    way = call(blank, "between", "exported.route([[0], [4], [8]], 4, exported.straight, true)")
    assert [point[0] for point in way] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 4, 2]


def test_the_estimate_is_that_of_the_report(blank):
    from unveil.evaluation.likelihood.weigh import _estimates, spread_of

    log_w = torch.randn(100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 900
    found = call(blank, "estimate", "exported.estimated(given)", log_w.flatten().tolist())
    expected = _estimates(log_w)
    assert found["logP"] == pytest.approx(float(expected["log_p"]), abs=1e-9)
    assert found["effective"] == pytest.approx(float(expected["ess"]), rel=1e-9)
    assert found["error"] == pytest.approx(float(spread_of(expected["ess"], 100).sqrt()), rel=1e-9)
    none = call(blank, "estimate", "exported.estimated([-Infinity, -Infinity])")
    assert none["effective"] == 0


def test_contours_hold_the_share_that_they_state(blank):
    """Of a standard normal on a grid: circles of radius sqrt(-2 log(1 - share)), to a tenth of a step."""
    grid = np.linspace(-4, 4, 96)
    values = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2))
    field = {"values": values.ravel().tolist(), "side": 96, "low": [-4, -4], "step": 8 / 95}
    found = call(blank, "ground", "exported.contours(given)", field)
    assert [one["share"] for one in found] == [0.25, 0.5, 0.75, 0.95]
    for one in found:
        radius = np.hypot(*np.array(one["lines"]).reshape(-1, 2).T)
        assert np.abs(radius - np.sqrt(-2 * np.log(1 - one["share"]))).max() < 0.1 * 8 / 95 + 0.01


def test_draws_are_counted_where_they_lie(blank):
    """The mean of 20,000 draws, within 4 standard errors, and their spread widened by the smoothing."""
    draws = np.random.default_rng(0).normal([1.0, -2.0], [0.5, 1.0], (20_000, 2))
    field = call(blank, "ground", "exported.counted(given)", draws.ravel().tolist())
    values, side, step = (
        np.array(list(field["values"].values()) if isinstance(field["values"], dict) else field["values"]),
        field["side"],
        field["step"],
    )
    places = field["low"][0] + step * np.arange(side)
    share = values.reshape(side, side) / values.sum()
    assert (share.sum(0) * places).sum() == pytest.approx(1, abs=4 * 0.5 / 20_000**0.5)
    assert (share.sum(1) * places).sum() == pytest.approx(-2, abs=4 / 20_000**0.5)


def test_one_chosen_z_bounds_and_has_no_error(blank):
    script = """(() => {
        const evidence = { name: "log p(x|y)", note: "Of this model alone." };
        const app = { model: { can: () => true }, know: { facts: { sheets: [] }, evidence } };
        const one = new exported.Evidence(app, () => {});
        one.say(module_estimate.estimated([-71.8]), { measure: "unit" });
        return one.element.textContent;
    })()"""
    text = call(blank, "evidence", script)
    assert "log p(x|y) ≥ −71.8 nats" in text
    assert text.count("Of this model alone.") == 1
    assert "NaN" not in text


def test_a_map_looks_from_far_enough_to_see_a_point(blank):
    script = """(() => {
        const app = { latent: { landscape: { box: [-1, -1, 1, 1] } }, points: null };
        const one = new exported.Little(document.createElement("canvas"), app, () => {});
        return [[0.5, 0.5], [0, -3], null].map((point) => (one.reach(point), one.lens.half));
    })()"""
    assert call(blank, "little", script) == pytest.approx([1, 3.3, 1])


def test_an_ellipse_holds_the_share_that_it_states(blank):
    """Of 20,000 draws the share within is binomial: 5 standard errors, one false alarm in a million."""
    source = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 2, generator=source)).Q.T
    scale = torch.tensor([0.2, 1.0, 3.0, 0.5, 0.1])
    shape = call(
        blank, "ellipse", "exported.ellipse(given.scale, given.axes)", {"scale": scale.tolist(), "axes": axes.tolist()}
    )
    points = (scale * torch.randn(20_000, 5, generator=source)) @ axes.T
    turned = points[:, 0] + 1j * points[:, 1]
    turned = turned * torch.exp(torch.tensor(-1j * shape["angle"]))
    within = (turned.real / shape["across"]) ** 2 + (turned.imag / shape["along"]) ** 2 < 1
    assert abs(float(within.double().mean()) - 0.95) < 5 * (0.95 * 0.05 / 20_000) ** 0.5


def test_a_gray_drawing_is_read_as_its_gray_says(blank):
    """The share of black among 10,000 pixels of gray 0.3 is binomial: 5 standard errors, one false alarm in a million."""
    image = {"measure": "binary"}
    given = {"image": image, "x": [0.3] * 10_000}
    script = "[...exported.read(Float32Array.from(given.x), given.image, {})]"
    first, again, other = (call(blank, "given", script.format(seed), given) for seed in (0, 0, 1))
    assert first == again != other
    assert set(first) == {0, 1}
    assert abs(np.mean(first) - 0.3) < 5 * (0.3 * 0.7 / 10_000) ** 0.5
    assert call(blank, "given", "[...exported.read(Float32Array.from([0.25]), {measure: 'unit'}, 0)]") == [0.25]
