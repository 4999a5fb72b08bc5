"""An estimator in use: that units, scores, seeds and states are what its docstrings say."""

import copy
import pickle
from datetime import datetime
from io import BytesIO
from math import sqrt

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import unveil
from unveil.data import from_arrays
from unveil.errors import DataError, SettingError
from unveil.estimator import VariationalAutoencoder
from unveil.generation import decode
from unveil.training.memory import Memory

SMALL = {"hidden": (16,)}
CONSTANT = {"schedule": "constant", "warmup": 0.0}


def small(recipe="vae", **given):
    return VariationalAutoencoder(
        recipe, **{"latent": 2, "settings": SMALL, "epochs": 3, "draws": 5, "random_state": 0, **given}
    )


@pytest.fixture(scope="module")
def images():
    return load_digits().data[:240]


@pytest.fixture(scope="module")
def numbers():
    """300 rows of 4 numbers around a line, far from 0 and of a scale of their own."""
    noise = np.random.default_rng(0)
    line = noise.normal(size=(300, 1)) * [30.0, -20.0, 10.0, 5.0]
    return 500.0 + line + noise.normal(size=(300, 4))


@pytest.fixture(scope="module")
def people():
    noise = np.random.default_rng(1)
    city = noise.choice(["Lima", "Pune"], 200)
    degrees = np.where(city == "Lima", 19.0, 25.0) + noise.normal(size=200)
    return {"city": city.tolist(), "degrees": degrees.round(2).tolist(), "member": (degrees > 22).tolist()}


@pytest.fixture(scope="module")
def fitted(numbers):
    return small(epochs=20).fit(numbers)


# in scikit-learn's hands


def test_a_grid_search_takes_numbers_of_numpy_and_finds_the_larger_bound(numbers):
    searched = {"latent": np.arange(1, 3), "learning_rate": np.array([1e-6, 1e-2])}
    search = GridSearchCV(small(epochs=20), searched, cv=2).fit(numbers)
    assert search.best_params_["learning_rate"] == 1e-2
    assert search.best_estimator_.transform(numbers).shape == (300, search.best_params_["latent"])
    assert search.score(numbers) == search.best_estimator_.score(numbers)


def test_a_pipeline_scales_before_it_and_goes_back_to_its_units(numbers):
    pipeline = make_pipeline(StandardScaler(), small(epochs=60, learning_rate=1e-2)).fit(numbers)
    back = pipeline.inverse_transform(pipeline.transform(numbers))
    assert back.shape == numbers.shape
    # the line holds nearly all of the variance, and one principal component tells what is left
    line = PCA(1).fit(numbers)
    best = np.square(line.inverse_transform(line.transform(numbers)) - numbers).mean()
    assert best < np.square(back - numbers).mean() < 0.2 * numbers.var(0).mean()


@pytest.mark.parametrize(("library", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_gives_a_frame_with_names(numbers, library, kind):
    frame = pd.DataFrame(numbers, columns=list("abcd"), index=[f"row {n}" for n in range(len(numbers))])
    model = small().set_output(transform=library).fit(frame)
    found = model.transform(frame)
    assert isinstance(found, kind)
    assert list(found.columns) == ["variationalautoencoder0", "variationalautoencoder1"]
    assert list(model.feature_names_in_) == list("abcd")
    if library == "pandas":
        assert list(found.index) == list(frame.index)
    plain = small().fit(numbers).transform(numbers)
    assert np.array_equal(np.asarray(found), plain)


def test_it_writes_nothing(numbers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small().fit(numbers)
    model.partial_fit(numbers).run_.evaluate(model.run_.data, split="train", samples=2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_cloned_is_not_fitted(fitted):
    assert "run_" not in vars(clone(fitted))
    with pytest.raises(AttributeError):
        _ = clone(fitted).model_


# units


def test_images_come_back_in_the_units_that_they_were_given_in(images):
    counted = small(shape=(8, 8), levels=16).fit(images)
    shares = small(shape=(8, 8)).fit(images / 16)
    z = counted.transform(images)
    assert np.array_equal(z, shares.transform(images / 16))
    assert np.array_equal(counted.inverse_transform(z), 16 * shares.inverse_transform(z))
    assert counted.inverse_transform(z).max() > 8
    assert set(np.unique(counted.sample(50))) == {0, 16}
    assert set(np.unique(shares.sample(50))) == {0, 1}
    assert np.array_equal(shares.score_samples(images[:9] / 16), counted.score_samples(images[:9]))


def test_what_is_decoded_is_what_the_model_expects(fitted, numbers):
    z = fitted.transform(numbers)
    expected = decode(fitted.model_, torch.from_numpy(z)).numpy()
    assert np.array_equal(fitted.inverse_transform(z), expected)
    assert abs(expected.mean() - 500) < 10


def test_nested_images_are_those_of_flat_rows(images):
    nested = images.reshape(-1, 8, 8)
    whole, flat = small(levels=16).fit(nested), small(levels=16, shape=(1, 8, 8)).fit(images)
    assert np.array_equal(whole.transform(nested), flat.transform(images))
    assert whole.sample(3).shape == (3, 64)


@pytest.mark.parametrize("measure", ["unit", "levels", "count", "real", "binary"])
def test_every_measure_is_scored_and_sampled_in_its_own_units(images, measure):
    model = small(measure=measure, levels=16, epochs=1).fit(images)
    assert np.isfinite(model.score(images[:5]))
    made = model.sample(20)
    assert made.shape == (20, 64)
    if measure in ("unit", "levels", "binary"):
        assert made.min() >= 0
        assert made.max() <= 16
    if measure in ("levels", "count"):
        assert np.array_equal(made, made.round())


def test_white_that_was_not_named_is_asked_for(images, caplog):
    small(shape=(8, 8), epochs=1).fit(images)
    assert "the largest entry is 16 of 255; give levels if it stands for white" in caplog.text


# nats


def z_score(differences):
    return abs(differences.mean()) / (differences.std(ddof=1) / sqrt(len(differences)))


def test_the_score_is_what_a_report_estimates(numbers):
    model = small(epochs=20, draws=50).fit(numbers)
    found = model.run_.evaluate(unveil.load(numbers), split="all", samples=50).values["nll"].numpy()
    assert z_score(model.score_samples(numbers) + found) < 4
    assert np.corrcoef(model.score_samples(numbers), -found)[0, 1] > 0.9
    assert model.score(numbers) == model.score_samples(numbers).mean()


def test_more_draws_raise_the_bound(images):
    loose = {**SMALL, "beta": 0.2}  # far from q(z|x) = p(z|x), so that there is something to gain
    given = {"latent": 4, "epochs": 20, "learning_rate": 1e-2, "batch_size": 50}
    model = small("beta-vae", shape=(8, 8), levels=16, settings=loose, **given).fit(images)
    one, many = (model.set_params(draws=draws).score_samples(images) for draws in (1, 50))
    assert (many - one).mean() > 0
    assert z_score(many - one) > 4


def test_a_row_has_its_score_to_the_bit_whatever_stands_beside_it(images):
    model = small(shape=(8, 8), levels=16).fit(images)
    together = model.score_samples(images[:30])
    order = np.random.default_rng(0).permutation(30)
    assert np.array_equal(model.score_samples(images[:30][order]), together[order])
    assert np.array_equal(model.score_samples(images[7:8]), together[7:8])
    assert np.array_equal(model.score_samples(np.repeat(images[7:8], 3, 0)), np.repeat(together[7:8], 3))


def test_a_likelihood_that_is_none_is_scored_by_its_bound(images):
    model = small(shape=(8, 8), levels=16, measure="unit", draws=20).fit(images)
    assert not model.model_.normalised
    data = from_arrays(images.reshape(-1, 1, 8, 8).astype(np.uint8), measure="unit", levels=16)
    found = model.run_.evaluate(data, split="all", samples=20).values["neg_elbo"].numpy()
    assert z_score(model.score_samples(images) + found) < 4


def test_a_posterior_without_density_has_no_score_but_encodes(images):
    model = small("wae-mmd", shape=(8, 8), levels=16).fit(images)
    assert model.transform(images).shape == (240, 2)
    with pytest.raises(SettingError, match="no density"):
        model.score(images)


# going on


def test_epochs_one_by_one_are_one_fit_to_the_bit(images):
    given = {"shape": (8, 8), "levels": 16, "batch_size": 50}
    whole = small(**given, validation=0, training=CONSTANT, epochs=4).fit(images)
    by_epoch = small(**given)
    for _ in range(4):
        by_epoch.partial_fit(images)
    assert by_epoch.n_iter_ == whole.n_iter_ == 4
    assert by_epoch.run_.manifest["recipe"] == "vae"
    assert np.array_equal(by_epoch.transform(images), whole.transform(images))
    assert np.array_equal(by_epoch.score_samples(images[:9]), whole.score_samples(images[:9]))


def test_it_goes_on_over_as_many_rows_as_are_given(numbers):
    model = small(batch_size=32)
    for rows in np.split(numbers, [100, 101, 180]):
        model.partial_fit(rows)
    assert model.n_iter_ == 4
    assert np.isfinite(model.score(numbers))
    assert [record["epoch"] for record in model.history_] == [4]


def test_it_goes_on_after_a_fit_from_the_weights_that_were_chosen(numbers):
    model = small(epochs=20).fit(numbers)
    before = model.transform(numbers)
    still = copy.deepcopy(model).set_params(learning_rate=1e-9).partial_fit(numbers)
    assert np.allclose(still.transform(numbers), before, atol=1e-4)
    moved = model.set_params(learning_rate=1e-2).partial_fit(numbers)
    assert moved.n_iter_ == 21
    assert not np.allclose(moved.transform(numbers), before, atol=1e-2)


def test_a_fit_begins_anew(numbers):
    once = small().fit(numbers).transform(numbers)
    assert np.array_equal(small().partial_fit(numbers[:, :3]).fit(numbers).transform(numbers), once)


# randomness


def test_the_same_random_state_gives_the_same_and_another_another(numbers):
    def found(state):
        model = small(random_state=state).fit(numbers)
        return np.concatenate([model.transform(numbers).ravel(), model.score_samples(numbers), model.sample(4).ravel()])

    assert np.array_equal(found(3), found(3))
    assert np.array_equal(found(np.random.RandomState(5)), found(np.random.RandomState(5)))
    assert not np.array_equal(found(3), found(4))
    assert not np.array_equal(found(None), found(None))


def test_samples_follow_their_own_state_and_nothing_else_moves(fitted, numbers):
    before = torch.get_rng_state(), fitted.transform(numbers)
    assert np.array_equal(fitted.sample(5), fitted.sample(5))
    assert np.array_equal(fitted.sample(5, random_state=8), fitted.sample(5, random_state=8))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5, random_state=8))
    fitted.score(numbers)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(fitted.transform(numbers), before[1])


# pickles


def written(model):
    file = BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301  our own


@pytest.mark.parametrize("again", [copy.deepcopy, pickled, written])
def test_a_copy_does_the_same_and_goes_on_the_same(numbers, again):
    model = small().partial_fit(numbers)
    other = again(model)
    assert np.array_equal(other.score_samples(numbers), model.score_samples(numbers))
    assert np.array_equal(other.partial_fit(numbers).transform(numbers), model.partial_fit(numbers).transform(numbers))


def test_a_pickle_is_plain_data_without_the_rows(numbers):
    content = pickle.dumps(small().fit(numbers))
    assert b"torch.nn" not in content
    assert b"_rebuild" not in content
    other = pickle.loads(content)  # noqa: S301
    assert other.run_.data is None
    with pytest.raises(DataError, match="in memory; hand the data over"):
        other.run_.evaluate()


# tables


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_frame_with_words_is_a_table_with_typed_columns(people, kind):
    frame = kind(people)
    model = small(epochs=40, learning_rate=1e-2).fit(frame)
    assert [field.kind for field in model.run_.data.columns] == ["categorical:2", "real", "categorical:2"]
    made = model.sample(60)
    assert isinstance(made, kind)
    assert list(made.columns) == ["city", "degrees", "member"]
    assert set(made["city"]) == {"Lima", "Pune"}
    assert set(made["member"]) == {True, False}
    back = model.inverse_transform(model.transform(frame))
    assert np.mean(np.asarray(back["city"]) == np.asarray(frame["city"])) > 0.9
    likely, unlikely = model.score_samples(
        kind({"city": ["Pune", "Pune"], "degrees": [25.0, 10.0], "member": [True, False]})
    )
    assert likely > unlikely + 3


def test_frames_of_both_libraries_and_a_file_are_one_table(people, tmp_path):
    people = {name: people[name] for name in ("city", "degrees")}
    made = [small().fit(kind(people)) for kind in (pd.DataFrame, pl.DataFrame)]
    pd.DataFrame(people).to_csv(tmp_path / "people.csv", index=False)
    read = unveil.load(tmp_path / "people.csv")
    for model in made:
        assert model.run_.data.columns == read.columns
        assert torch.equal(model.run_.data.whole().values, read.whole().values)
    assert np.array_equal(made[0].transform(pd.DataFrame(people)), made[1].transform(pl.DataFrame(people)))


def test_gaps_are_integrated_out(people):
    gapped = pd.DataFrame(people)
    gapped.loc[:20, "city"] = None
    gapped.loc[10:30, "degrees"] = np.nan
    model = small(draws=2_000).fit(gapped)
    assert np.isfinite(model.score(gapped[:30]))
    nothing = pd.DataFrame({"city": [None], "degrees": [np.nan], "member": [None]})
    assert model.score_samples(nothing)[0] == pytest.approx(0, abs=0.1)  # log p of nothing


def test_a_frame_of_numbers_is_an_array_unless_it_is_asked_to_be_a_table(numbers):
    frame = pd.DataFrame(numbers, columns=list("abcd"))
    assert small().fit(frame).run_.data.space.measure == "real"
    asked = small(columns={"a": "positive"}).fit(frame)
    assert [field.kind for field in asked.run_.data.columns] == ["positive", "real", "real", "real"]
    assert small(measure="columns").fit(numbers).sample(2).shape == (2, 4)


def test_a_type_of_classes_makes_numbers_classes_and_they_come_back_as_they_were():
    frame = pd.DataFrame({"size": pd.Categorical(np.tile([30, 50, 70], 40)), "one": pd.Categorical([1] * 120)})
    model = small(epochs=1).fit(frame)
    assert [(field.name, field.kind) for field in model.run_.data.columns] == [("size", "categorical:3")]
    assert set(model.sample(50)["size"]) == {30, 50, 70}


# what is refused


def test_what_cannot_be_is_told(people, numbers, images):
    frame = pd.DataFrame(people)
    model = small().fit(frame)
    with pytest.raises(DataError, match="row 1: column 'city' holds 'Rome', which is none of its classes"):
        model.transform(frame.assign(city="Rome"))
    with pytest.raises(DataError, match="column 'when' holds a Timestamp"):
        small().fit(frame.assign(when=datetime(2020, 1, 1)))
    with pytest.raises(SettingError, match="is told the labels"):
        small("cvae", shape=(8, 8), levels=16).fit(images)
    with pytest.raises(DataError, match="rows of 64 numbers, which are no images of shape"):
        small(shape=(8, 9), levels=16).fit(images)
    with pytest.raises(DataError, match="holds 16, and images are from 0 for black to 8 for white"):
        small(shape=(8, 8), levels=8).fit(images)
    with pytest.raises(SettingError, match="levels cannot be 0"):
        small(shape=(8, 8), levels=0).fit(images)
    with pytest.raises(DataError, match="channels come first"):
        small().fit(np.zeros((9, 8, 8, 3)))
    with pytest.raises(SettingError, match="validation cannot be 2"):
        small(validation=2).fit(numbers)
    with pytest.raises(SettingError, match="there is no measure 'reals'; did you mean 'real'"):
        small(measure="reals").fit(numbers)
    with pytest.raises(SettingError, match="there is no setting 'epoch'; did you mean 'epochs'"):
        small(training={"epoch": 3}).fit(numbers)
    with pytest.raises(SettingError, match="cannot have 0 draws"):
        small(draws=0).fit(numbers).score(numbers)
    with pytest.raises(ValueError, match="z has 3 features"):
        model.inverse_transform(np.zeros((1, 3)))
    with pytest.raises(SettingError, match="has no folder"):
        unveil.train("digits", memory=Memory(), out="somewhere")


# the run behind it


def test_the_run_is_evaluated_on_the_rows_that_validate_and_says_so(fitted, numbers):
    report = fitted.run_.evaluate(samples=5)
    assert (report.nats.split, report.nll.n) == ("validation", 30)
    with pytest.raises(DataError, match="no rows in its validation split"):
        small(validation=0).fit(numbers).run_.evaluate()


def test_lines_are_told_where_asked_for(numbers, capsys):
    small(epochs=4, verbose=2).fit(numbers)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in said] == ["epoch 2/4", "epoch 4/4"]
    assert all("validation -ELBO" in line for line in said)
