"""A sweep: trials of a recipe's settings, each an ordinary run folder, proposed and pruned by Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unveil.data import Dataset, load
from unveil.errors import DataError, SettingError, option
from unveil.evaluation import in_evaluation
from unveil.launch import RUNS
from unveil.preflight import check
from unveil.recipes import RECIPES, Recipe, propose
from unveil.recipes import recipe as named
from unveil.store import files, lock
from unveil.training.stop import Stop
from unveil.tuning import study as studies
from unveil.tuning.asked import FOUND, STUDY, TOLD, Sweep, hold, make
from unveil.tuning.going import Going
from unveil.tuning.report import Tuned, report
from unveil.tuning.space import read, usual

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def tune(
    data: Any,
    recipe: str | Recipe | None = None,
    *,
    trials: int = 20,
    jobs: int = 1,
    space: Sequence[str] = (),
    epochs: int | None = None,
    pruner: str | BasePruner = "median",
    samples: int = 100,
    images: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Tuned:
    """Try settings of a recipe, and say which are better and which differences are real.

    Trials are proposed by Optuna's tree-structured Parzen estimator, the first of them the recipe as it is; where there
    are few combinations of values, none is tried twice. A trial is trained in a process of its own, and
    judged on the validation split by the estimate of -log p(x), or by -ELBO where there is none; the test split is never
    looked at. The same call goes on with a sweep that was stopped or killed, or that is to have more trials.

    Args:
        data: what `unveil.load` gave from a name, a file or a folder, or such a name.
        recipe: whose settings; None for what would be trained on these data.
        trials: how many are to have ended, finished or pruned, those of earlier calls included; failed ones do not count.
        jobs: how many are trained side by side, each with its part of the threads.
        space: what is tried, as `read` takes it: 'beta=1..8:log', 'latent=8,16', 'learning_rate'; empty for the usual.
        epochs: of a trial; None for the recipe's own.
        pruner: what ends trials that do badly early: 'median', 'halving', 'none', or one of Optuna's own.
        samples: K, draws of z for each validation image.
        images: how many of them, as a function of `seed`; None for all.
        seed: of proposals, trainings and evaluations.
        device: where to train.
        out: the folder of the sweep; None for runs/tune-RECIPE.
        data_dir: the folder with MNIST's files.

    Raises:
        SettingError: settings that cannot be tried, a recipe without nats, or Optuna is not installed.
        DataError: data in memory, which another process could not read, or none to validate on.
        RunError: the folder is of another sweep, damaged, or in use; or trials fail one after another.

    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; Akiba et al. 2019, Optuna, arXiv:1907.10902.
    """
    studies.require()
    for name, value, least in (("trials", trials, 1), ("jobs", jobs, 1), ("samples", samples, 1), ("images", images, 2)):
        if value is not None and value < least:
            raise SettingError(f"{option(name)} cannot be {value}; give at least {least}")
    data = _readable(load(data, data_dir=data_dir) if isinstance(data, str | Path) else load(data))
    chosen = _based(propose(data).recipe if recipe is None else named(recipe) if isinstance(recipe, str) else recipe)
    own = chosen.training
    epochs = own.epochs if epochs is None else epochs
    looks = max(1, own.validate_every * epochs // own.epochs)  # as often in a trial as in a whole training
    chosen = replace(chosen, training=replace(own, epochs=epochs, seed=seed, device=device, validate_every=looks))
    _require_nats(chosen, data)
    pruning = studies.pruner(pruner, chosen.training.epochs) if isinstance(pruner, str) else pruner
    sweep = Sweep(
        recipe=chosen,
        data=data,
        space=read(space, chosen) if space else usual(chosen, data),
        pruning=pruner if isinstance(pruner, str) else type(pruner).__name__,
        measure={"samples": samples, "images": images, "seed": seed},
        path=Path(out or RUNS / f"tune-{chosen.name}"),
    )
    make(sweep.path)
    with lock.held(sweep.path / "lock"):
        hold(sweep)
        with studies.opened(sweep.path / STUDY, pruning) as study, Stop() as stop:
            place = None if data_dir is None else str(data_dir)
            Going(sweep, study, trials, max(1, torch.get_num_threads() // jobs), place).go(jobs, stop)
            about = {"recipe": chosen.name, "data": data.name, "path": sweep.path, "pruner": sweep.pruning}
            found = report(study, sweep.space, seed, stop.by, **about)
        if stop.by is None:
            files.write_json(sweep.path / FOUND, found.as_dict())
            files.write(sweep.path / TOLD, f"{found}\n".encode())
    return found


def _readable(data: Dataset) -> Dataset:
    if not data.loadable:
        raise DataError(
            f"trials are trained in processes of their own, which cannot read {data.name} in memory; save it as a .npy or "
            ".npz file, and name that"
        )
    if len(data.validation) < 2:
        raise DataError(
            f"{data.name} has no validation split to compare settings on; give a share by {option('validation')}"
        )
    return data


def _based(chosen: Recipe) -> Recipe:
    if RECIPES.get(chosen.name, chosen).function is not chosen.function or chosen.name not in RECIPES:
        raise SettingError(f"{chosen.name} is no recipe that another process would know; take one of unveil recipes")
    return chosen


def _require_nats(chosen: Recipe, data: Dataset) -> None:
    """See that the recipe goes with the data, and has what settings can be compared by."""
    seen = chosen.prepare(data)
    with torch.random.fork_rng([]):
        model, objective = chosen.compose(seen)
        check(model, seen, objective)
        with torch.no_grad(), in_evaluation(model):
            rated = model.draw(next(seen.validation.batches(2, 0))).rated
    if not rated:
        raise SettingError(
            f"{chosen.name} has no -ELBO, for its posterior chooses one z: a distortion says which settings copy best, not "
            "which model is better; tune a recipe that has a rate"
        )
