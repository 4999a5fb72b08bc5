"""What is answered: the model's own numbers, as JSON or as pixels."""

import io
import shutil

import numpy as np
import pytest
import torch
from helpers.serving import Asked
from PIL import Image

import unveil
from unveil import generation
from unveil.data.reading import Binarise
from unveil.randomness import generator
from unveil.serving.fields import Label
from unveil.serving.limits import Limits
from unveil.serving.served import Served


def png(images):
    found = io.BytesIO()
    Image.fromarray(images).save(found, "png")
    return found.getvalue()


GRAY = np.arange(30, dtype=np.uint8).reshape(6, 5) * 8


def test_encode_decode_and_reconstruct_are_those_of_the_model(asked, runs, tiny):
    one, model = asked["flat"], runs["flat"].model
    few = tiny.test.subset(torch.arange(3))
    x = few.reading.mean(few.values)
    encoded, wanted = one.post("/encode", {"x": x.tolist()}).json(), generation.encode(model, few)
    for name in ("mean", "scale"):
        torch.testing.assert_close(torch.tensor(encoded[name]), getattr(wanted, name))
    decoded = one.post("/decode", {"z": encoded["mean"]}).json()["x"]
    torch.testing.assert_close(torch.tensor(decoded), generation.decode(model, wanted.mean))
    assert one.post("/reconstruct", {"x": x.tolist()}).json()["x"] == decoded


def test_a_score_is_an_estimate_of_log_p_that_more_draws_sharpen(runs, asked):
    x = asked["flat"].post("/sample", {"n": 3, "seed": 0}).json()["x"]
    found = asked["flat"].post("/score", {"x": x}).json()
    assert found["quantity"] == "-log p(x)"
    assert (found["samples"], found["seed"]) == (20, 0)
    assert asked["flat"].post("/score", {"x": x, "seed": 1}).json()["nats"] != found["nats"]
    many = Asked(runs["flat"], samples=4_000)

    def over_seeds(one):
        said = [one.post("/score", {"x": x, "seed": seed}).json() for seed in range(8)]
        return [np.array([each[name] for each in said]) for name in ("nats", "stderr")]

    (few, _), (sharp, stderr) = over_seeds(asked["flat"]), over_seeds(many)
    many.close()
    # the spread of eight is within a third and three times what it is; beyond that by chance in far less than a thousandth
    assert ((sharp.std(0) > stderr.mean(0) / 5) & (sharp.std(0) < 3 * stderr.mean(0))).all()
    # the spread over seeds falls as the root of the draws: 200 times as many, a fourteenth; a third is far off
    assert (sharp.std(0) < few.std(0) / 3).all()
    # both estimate the same: five standard errors of eight, so that this fails by chance once in a thousand models
    assert (np.abs(sharp.mean(0) - few.mean(0)) < 5 * few.std(0) / np.sqrt(8) + few.var(0)).all()


def test_gray_pixels_are_binarised_by_the_seed_before_they_are_scored(asked):
    one, gray, seen = asked["flat"], torch.full((2, 1, 6, 5), 0.5), []
    for seed in range(3):
        read = [Binarise(1)(x, generator(seed, "reading", "serve", row)) for row, x in enumerate(gray)]
        nats = [one.post("/score", {"x": x.tolist(), "seed": seed}).json()["nats"] for x in (gray, torch.stack(read))]
        assert nats[0] == nats[1]
        seen += read
    assert len({tuple(x.flatten().tolist()) for x in seen}) == 6, "each row and each seed has a reading of its own"


def test_nats_of_x_that_a_model_is_told_the_class_of_are_called_so(asked):
    one = asked["conditional"]
    x = one.post("/sample", {"n": 1, "seed": 0, "label": 1}).json()["x"]
    assert one.post("/score", {"x": x, "label": 1}).json()["quantity"] == "-log p(x|y)"
    assert one("GET", "/openapi.json").json()["paths"]["/score"]["post"]["summary"].startswith("-log p(x|y) in nats")


def test_many_examples_are_scored_in_parts_that_share_no_noise(runs):
    one = Asked(runs["flat"], samples=1_000)  # four at a time
    x = one.post("/sample", {"n": 1, "seed": 0}).json()["x"] * 9
    nats = one.post("/score", {"x": x}).json()["nats"]
    one.close()
    assert len(nats) == len(set(nats)) == 9


def test_one_image_comes_as_its_pixels_and_several_on_a_sheet(asked):
    one = asked["flat"]
    x = torch.tensor(one.post("/sample", {"n": 3, "seed": 5, "mean": True}).json()["x"])
    answer = one.post("/sample", {"n": 1, "seed": 5, "mean": True}, headers={"Accept": "image/png"})
    assert (answer.headers["content-type"], answer.headers["unveil-seed"]) == ("image/png", "5")
    alone = torch.tensor(one.post("/sample", {"n": 1, "seed": 5, "mean": True}).json()["x"])[0, 0]
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert pixels.shape == (6, 5)
    np.testing.assert_allclose(pixels, 255 * alone / one.served.facts.space.white, atol=0.51)
    sheet = one.post("/sample", {"n": 3, "seed": 5, "mean": True}, headers={"Accept": "image/png"})
    pixels = np.asarray(Image.open(io.BytesIO(sheet.content)))
    assert pixels.shape == (13, 11)
    np.testing.assert_allclose(pixels[:6, :5], 255 * x[0, 0] / one.served.facts.space.white, atol=0.51)
    assert (pixels[6] == 255).all()


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_an_image_is_an_x(kind, asked):
    one, space = asked["flat"], asked["flat"].served.facts.space
    found = io.BytesIO()
    Image.fromarray(GRAY).save(found, kind)
    pixels = np.asarray(Image.open(io.BytesIO(found.getvalue()))).astype(float)
    x = pixels if space.measure == "levels" else pixels / 255
    by_image = one("POST", "/encode", content=found.getvalue(), headers={"Content-Type": f"image/{kind}"})
    by_json = one.post("/encode", {"x": [[x.tolist()]]})
    torch.testing.assert_close(torch.tensor(by_image.json()["mean"]), torch.tensor(by_json.json()["mean"]))


def test_a_large_image_is_brought_to_the_shape_of_x(asked):
    image = png(np.full((300, 400, 3), 200, np.uint8))
    answer = asked["flat"]("POST", "/reconstruct", content=image, headers={"Content-Type": "image/png"})
    assert torch.tensor(answer.json()["x"]).shape == (1, 1, 6, 5)


def test_the_fields_of_an_image_stand_in_the_query(asked):
    one = asked["conditional"]
    head = {"Content-Type": "image/png"}
    answers = [
        one("POST", f"/score?seed=4&label={label}", content=png(GRAY), headers=head) for label in ("light", "1", "dark")
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    light, number, dark = (answer.json()["nats"] for answer in answers)
    assert light == number != dark
    assert answers[0].json()["seed"] == 4


def test_a_conditional_model_makes_what_it_is_told_to(asked):
    one = asked["conditional"]
    assert one.post("/sample", {"n": 3}).json()["label"] == ["dark", "light", "dark"]
    assert one.post("/sample", {"n": 2, "label": "light"}).json()["label"] == ["light"] * 2
    assert one.post("/sample", {"n": 2, "label": 0}).json()["label"] == ["dark"] * 2
    means = {label: one.post("/sample", {"n": 8, "seed": 0, "mean": True, "label": label}).json()["x"] for label in (0, 1)}
    assert torch.tensor(means[1])[..., :3, :].mean() > torch.tensor(means[0])[..., :3, :].mean()


def test_without_a_seed_every_answer_is_another_and_says_its_seed(asked):
    one = asked["flat"]
    first, second = (one.post("/sample", {"n": 2}).json() for _ in range(2))
    assert first["seed"] != second["seed"]
    assert one.post("/sample", {"n": 2, "seed": first["seed"]}).json() == first


def test_rows_of_a_table_are_cells_with_words_and_gaps(asked):
    one = asked["table"]
    row = one.post("/sample", {"seed": 0}).json()["x"][0]
    assert row[2] in ("Rome", "Oslo")
    assert isinstance(row[3], int)
    known = one.post("/score", {"x": [row, [None] * 4]}).json()["nats"]
    assert known[0] > 0
    assert known[1] == pytest.approx(0.0, abs=0.1), "p of nothing is 1, whatever the draws"
    assert len(one.post("/reconstruct", {"x": [[None, 50000, "Rome", 2]]}).json()["x"][0]) == 4
    assert one.post("/sample", {}, headers={"Accept": "image/png"}).status_code == 406


def test_what_is_no_number_is_null(asked):
    x = asked["flat"].post("/decode", {"z": [[3e38, -3e38]]})
    assert x.status_code == 200
    assert set(map(type, torch.utils._pytree.tree_leaves(x.json()))) <= {float, type(None)}


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/*", "image/png"),
        ("image/png, */*;q=0.1", "image/png"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("image/png;q=0, */*", "application/json"),
        ("nonsense, image/png;q=x, application/json", "application/json"),
        ("image/jpeg", None),
        ("application/json;q=0", None),
    ],
)
def test_the_answer_is_what_is_wanted_most(accept, media, asked):
    answer = asked["flat"].post("/sample", {"seed": 0}, headers={"Accept": accept})
    assert answer.headers["content-type"] == (media or "application/json")
    assert answer.status_code == (200 if media else 406)


def test_what_is_served_is_told_as_text_and_names_with_markup_are_no_markup(runs, tmp_path):
    name = "<img src=x onerror=alert(1)>"
    shutil.copytree(runs["flat"].path, tmp_path / name)
    one = Asked(unveil.open(tmp_path / name))
    for accept in ("*/*", "text/html,*/*;q=0.8", "text/plain"):
        answer = one("GET", "/", headers={"Accept": accept})
        assert answer.headers["content-type"].split(";")[0] == ("application/json" if accept == "*/*" else "text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert name in answer.text
    assert one("GET", "/").json()["recipe"] == "vae"
    assert one("GET", "/health").json() == {"status": "ok"}
    assert "<" not in one("GET", "/openapi.json").text
    one.close()


def test_rows_may_be_objects_by_the_names_of_columns(asked):
    one = asked["table"]
    rows = [[50.5, 5e4, "Rome", 2], [40, None, "Oslo", None]]
    names = [{"kids": 2, "city": "Rome", "age": 50.5, "income": 5e4}, {"city": "Oslo", "age": 40}]
    found = [one.post("/encode", {"x": x}) for x in (rows, names, [rows[0], names[1]])]
    assert [answer.status_code for answer in found] == [200] * 3
    assert found[0].json() == found[1].json() == found[2].json()


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ((), {0: 0, 1.0: 1, "1": 1}),
        (("dark", "light"), {"light": 1, 1: 1, "1": 1, "0": 0}),
        (("2", "0"), {0: 0, 1: 1, "0": 1, "2": 0, 2: 0, "1": 1}),
    ],
)
def test_a_class_is_named_by_text_or_numbered_by_a_number(names, meant):
    label = Label(2, names)
    for given, place in meant.items():
        assert label.read(given, "label") == place
        assert type(given) is not str or label.read_text(given, "label") == place
    assert all(label.read(one, "label") in (0, 1) for way in label.schema()["anyOf"] for one in way["enum"])


def test_the_exact_integral_is_told_beside_the_estimate():
    figures = Served(unveil.pretrained("mnist-2d"), Limits(), 10).figures()
    told = {one["name"]: one for one in figures}
    exact, drawn = told["-log p(x), integrated over z"], told["-log p(x), importance-weighted"]
    assert exact["value"] < drawn["value"]
    assert exact["n"] == drawn["n"] == 10_000
