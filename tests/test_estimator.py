"""scikit-learn's own checks of an estimator, every one of them, and its page."""

import re
from pathlib import Path

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from unveil.estimator import VariationalAutoencoder

PAGE = (Path(__file__).parents[1] / "docs" / "sklearn.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = {"hidden": (8,), "activation": "relu"}


def tiny(**given):
    return VariationalAutoencoder("vae", latent=2, settings=SMALL, epochs=2, draws=3, random_state=0, **given)


@parametrize_with_checks([tiny()])
def test_it_is_an_estimator_as_scikit_learn_has_them(estimator, check):
    check(estimator)


@parametrize_with_checks([tiny(measure="columns")])
def test_it_is_one_for_tables_with_gaps(estimator, check):
    check(estimator)


BESIDE = (
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_estimators_partial_fit_n_features",
)


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.filterwarnings("ignore:X .* feature names:UserWarning")
def test_it_passes_the_checks_that_scikit_learn_keeps_for_its_own_transformers(name):
    getattr(estimator_checks, name)("VariationalAutoencoder", tiny())


def test_every_block_of_its_page_runs_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("\n".join(BLOCKS), {"__name__": "sklearn_page"})
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out.splitlines()
    assert float(said[0]) > 0.8
    assert "validation" in said
