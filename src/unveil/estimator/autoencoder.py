"""An estimator as scikit-learn has them, around a run that has no folder.

What it does by itself is to read X; recipes, training, estimates and samples are Unveil's own. Everything random is a
function of `random_state`, and nothing but `fit` and `partial_fit` changes anything.
"""

from __future__ import annotations

import logging
import numbers
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from unveil.data import Dataset
from unveil.data.space import check_channels
from unveil.errors import SettingError
from unveil.estimator.packing import arrays, packed, tensors, unpacked
from unveil.estimator.rows import NAME, Frame, Numbers, Rows, Table, held_out, is_worded
from unveil.estimator.telling import Lines
from unveil.evaluation import encoded
from unveil.evaluation.likelihood.rowwise import rowwise
from unveil.generation import decode, latent_shape
from unveil.launch import train
from unveil.models import Model
from unveil.recipes import Recipe, propose, recipe
from unveil.run import Run
from unveil.training.config import Training
from unveil.training.memory import Memory, onward
from unveil.training.saving import Checkpoint
from unveil.training.step import Step

log = logging.getLogger(__name__)


class VariationalAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A latent-variable model p(x, z) with its approximate posterior q(z|x), fitted to the rows of X.

    X is an array (N, D) of finite numbers, images among them as flat rows, or a data frame of pandas or polars. One whose
    columns are all numbers is read as such an array; one with words, classes or truth values as a table, whose columns
    have a kind each, as `unveil.load` reads it from a file. `y` is never looked at.

    Where None stands, the recipe's own default holds, or with no recipe what `unveil.recipes.propose` proposes for X.

    Args:
        recipe: a name from `unveil recipes`, or a `Recipe`; None for the one that is proposed. Recipes that are told labels
            have no place here.
        latent: dimensions of z.
        settings: other settings of the recipe, by name: `{"hidden": (64,), "beta": 4.0}`.
        shape: of the image in each row, (height, width) or (channels, height, width). Images need not be flat where it is
            None.
        measure: how numbers are read: 'real', 'count', for images 'binary' (binarised afresh at each visit), 'unit' or
            'levels', or 'columns' for a table; 'auto' takes real numbers, 'binary' where there is a shape, and 'columns'
            for a data frame that holds more than numbers.
        levels: what stands for white in images; None for 1 where no entry is larger, and 255 else.
        columns: of a table, kinds of columns that are other than their cells suggest: `{"zip": "categorical"}`.
        epochs: visits of the rows.
        batch_size: rows in a step.
        learning_rate: the largest that the schedule reaches.
        training: other settings of `unveil.training.config.Training`, by name: `{"device": "cuda"}`.
        validation: share of the rows given to `fit` that choose the best weights and train none; 0 for no such choice.
        draws: K, of z for each row, by which `score_samples` estimates.
        random_state: everything random is a function of it; None for another one in each fit, drawn from NumPy.
        verbose: epochs after which a line goes to standard error; 0 for none.

    Attributes:
        run_: the trained model as a `Run` without a folder; `run_.evaluate()` is its report card on the rows that validate.
        model_: the generative model, `run_.model`.
        n_iter_: epochs trained, in all calls since the last `fit`.
        history_: a record for each epoch of the last call: loss, distortion, rate and -ELBO in nats.
        n_features_in_: D.
        feature_names_in_: names of the columns, where X was a data frame and they are strings.
    """

    def __init__(
        self,
        recipe: str | Recipe | None = None,
        *,
        latent: int | None = None,
        settings: Mapping[str, Any] | None = None,
        shape: Sequence[int] | None = None,
        measure: str = "auto",
        levels: int | None = None,
        columns: Mapping[str, str] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        training: Mapping[str, Any] | None = None,
        validation: float = 0.1,
        draws: int = 100,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.recipe = recipe
        self.latent = latent
        self.settings = settings
        self.shape = shape
        self.measure = measure
        self.levels = levels
        self.columns = columns
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.training = training
        self.validation = validation
        self.draws = draws
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> VariationalAutoencoder:
        """Train a new model on the rows of X, and take the averaged weights that do best on those that validate.

        Raises:
            DataError: X cannot be read.
            SettingError: settings that do not fit together or to X.
            DivergedError: an epoch without one finite step.
        """
        rows, data = self._learnt(X, self.validation)
        memory = Memory()
        run = self._train(data, memory, recipe=self._recipe(data), seed=_seed(self.random_state), **self._wishes())
        return self._fitted(rows, run, memory, None)

    def partial_fit(self, X: Any, y: Any = None) -> VariationalAutoencoder:
        """Train on for one epoch: visit each of the given rows once, but those that fill no whole batch.

        The first call makes a model as `fit` does, from the rows that it is given: reading, columns, scales and what is
        proposed follow from these. Each call goes on with the weights, their average, the optimiser's moments and the time
        in epochs that the one before left, at the constant rate `learning_rate`; no row validates, and the model has the
        averaged weights. So n calls with the same rows are one `fit` of n epochs with `validation=0` and
        `training={"schedule": "constant", "warmup": 0.0, "compile": "never"}`. After `fit` the weights are those that it
        chose, and the moments begin anew.

        Raises:
            DataError: X cannot be read, or not as the rows before were.
            SettingError: settings that do not fit together or to X.
            DivergedError: not one finite step.
        """
        wishes = {**self._wishes(), "schedule": "constant", "warmup": 0.0, "compile": "never"}
        if "run_" not in vars(self):
            rows, data = self._learnt(X, 0.0)
            memory, wishes = Memory(), {**wishes, "epochs": 1, "seed": _seed(self.random_state)}
            run = self._train(data, memory, recipe=self._recipe(data), **wishes)
        else:
            rows, before, data = self._rows, self.run_, self._again(X)
            config = Training(**before.manifest["training"]).given(**{**wishes, "epochs": self.n_iter_ + 1})
            memory = Memory(onward(Step(before.model, before.objective), data.train, config, self._state))
            run = self._train(data, memory, model=before.model, objective=before.objective, training=config)
            run.manifest |= {name: before.manifest[name] for name in ("recipe", "settings")}
        return self._fitted(rows, run, memory, memory.state)

    def transform(self, X: Any) -> np.ndarray:
        """(N, latent) float32 means of q(z|x), without noise; of images that are binarised, those of the gray image."""
        check_is_fitted(self)
        return encoded(self.run_.model, self._again(X).train)[0].flatten(1).numpy()

    def inverse_transform(self, X: Any) -> Any:
        """(N, D) E[x|z] for z (N, latent), in the units of the X that was fitted.

        Where that was a table from a data frame, so is this; of a categorical column it is the likeliest class.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=np.float32, input_name="z")
        if z.shape[1] != self._n_features_out:
            raise ValueError(f"z has {z.shape[1]} features, but {type(self).__name__} is expecting {self._n_features_out}")
        return self._rows.back(decode(self.run_.model, torch.from_numpy(np.array(z)).unflatten(1, self._latent)))

    def sample(self, n_samples: int = 1, random_state: Any = None, mean: bool = False) -> Any:
        """(n_samples, D) draws from p(x), in the units of the X that was fitted.

        Args:
            n_samples: how many.
            random_state: of the draws; None for that of the fit, which gives the same draws each time.
            mean: give E[x|z] instead of x, which is smoother to look at.
        """
        check_is_fitted(self)
        seed = self._trained_by if random_state is None else _seed(random_state)
        return self._rows.back(self.run_.sample(n_samples, seed=seed, mean=mean).cpu())

    def score_samples(self, X: Any) -> np.ndarray:
        """(N,) nats, larger is better: the importance-weighted estimate of log p(x) of each row, with K = `draws`.

        Its exponential is unbiased for p(x); itself it is a lower bound in expectation, which rises with K, and with K = 1
        the ELBO of a single draw. Noise is a function of the fit's seed and of the row, so that a row has the same value in
        any X. What the nats are of depends on `measure`: they compare within one space and unit alone, and under a
        likelihood that is none, the cross-entropy of gray values, they are the expected ELBO of binarised images.

        Raises:
            SettingError: q(z|x) of the model has no density.
        """
        check_is_fitted(self)
        return rowwise(self.run_.model, self._again(X).train, int(self.draws), self._trained_by).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean over the rows of what `score_samples` gives, in nats; larger is better."""
        return float(self.score_samples(X).mean())

    @property
    def model_(self) -> Model:
        """The generative model."""
        return self.run_.model

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn is to know of it."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self._asks_for_a_table()
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Plain data alone, without the rows that it was trained on."""
        state = dict(super().__getstate__())
        if "run_" in state:
            state |= {"run_": packed(self.run_), "_state": _moments(self._state, arrays)}
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be what `__getstate__` gave."""
        found = dict(state)
        if "run_" in found:
            found |= {"run_": unpacked(found["run_"]), "_state": _moments(found["_state"], tensors)}
        super().__setstate__(found)

    # how X is read

    def _asks_for_a_table(self) -> bool:
        return self.measure == "columns" or bool(self.columns)

    def _learnt(self, X: Any, validation: float) -> tuple[Rows, Dataset]:
        """How X is read, and X so read, with a share of it that validates."""
        typed = self._asks_for_a_table() or is_worded(X)
        nested = isinstance(X, np.ndarray) and X.ndim > 2
        if nested:
            check_channels(X.shape, NAME)
        shape = X.shape[1:] if nested and self.shape is None else self.shape
        X = self._checked(X, typed, first=True)
        held = held_out(len(X), validation)
        if typed:
            return Table.of(X, self.columns or {}, held)
        rows = Numbers.of(X, shape, self.measure, self.levels)
        return rows, rows.dataset(X, held)

    def _again(self, X: Any) -> Dataset:
        """X read as before, every row of it in one split."""
        X = self._checked(X, isinstance(self._rows, Table))
        return self._rows.dataset(X, held_out(len(X), 0.0))

    def _checked(self, X: Any, typed: bool, first: bool = False) -> Any:
        """X as scikit-learn wants it to be; number and names of its columns are noted, or held against those before."""
        if typed and isinstance(X, Frame):
            return validate_data(self, X, reset=first, skip_check_array=True)
        if isinstance(X, np.ndarray) and X.ndim > 2:
            X = X.reshape(len(X), -1)
        finite = "allow-nan" if typed else True
        return validate_data(self, X, reset=first, ensure_min_samples=2 if first else 1, ensure_all_finite=finite)

    # how it is trained

    def _recipe(self, data: Dataset) -> Recipe:
        """What is trained on `data`."""
        if self.recipe is None:
            chosen = propose(data).recipe
        else:
            chosen = self.recipe if isinstance(self.recipe, Recipe) else recipe(self.recipe)
        if chosen.labels:
            raise SettingError(
                f"{chosen.name} is told the labels, for which transform and score have no place; take another recipe, or "
                "unveil.train"
            )
        return chosen.given(**_plain({**(self.settings or {}), **_given(latent=self.latent)}))

    def _wishes(self) -> dict[str, Any]:
        """Settings of training that are asked for."""
        own = _given(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)
        return _plain({**(self.training or {}), **own})

    def _train(self, data: Dataset, memory: Memory, **given: Any) -> Run:
        """The run of a training that writes nothing."""
        return train(data, memory=memory, monitor=Lines(self.verbose) if self.verbose else None, **given)

    def _fitted(self, rows: Rows, run: Run, memory: Memory, state: Checkpoint | None) -> VariationalAutoencoder:
        """Be what a training has led to, which can be gone on from by `state`."""
        self._rows, self._state, self.run_, self.history_ = rows, state, run, memory.records
        self.n_iter_ = memory.records[-1]["epoch"] if memory.records else 0
        self._latent = latent_shape(run.model, rows.space.shape)
        self._n_features_out = prod(self._latent)
        if run.manifest["status"] == "interrupted":
            log.warning(
                "training was interrupted after %d epochs; the estimator has the best weights until then", self.n_iter_
            )
        return self

    @property
    def _trained_by(self) -> int:
        """The seed of the fit."""
        return int(self.run_.manifest["training"]["seed"])


def _seed(random_state: Any) -> int:
    """A number as it is; of a generator, or of NumPy's own for None, its next one."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _given(**wishes: Any) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if value is not None}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a run's record takes them: numbers of Python where a grid has NumPy's, tuples for lists."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def _moments(state: tuple[Any, Any] | None, change: Callable[[Any], Any]) -> tuple[Any, Any] | None:
    """The state of a training with its tensors as arrays, or back."""
    return None if state is None else (change(state[0]), state[1])
