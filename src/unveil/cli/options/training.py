"""What the commands that train take, and those that show what there is to train on and with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from unveil.cli.options.shared import Reading, RunFolder
from unveil.recipes import RECIPES, Networks
from unveil.recipes.priors import REFIT
from unveil.training.config import Training


@dataclass(frozen=True)
class Train:
    """Train a model on DATA and leave a run folder with the model and its pictures.

    Attributes:
        data: mnist, digits, shapes, linear-gaussian, a .npy or .npz file, a table (.csv, .tsv, .parquet), or a folder of
            images or shards; it must be named, and `unveil demo` is the command that names MNIST itself.
        recipe: a name from `unveil recipes`; without it, the one named like the data, else table or vae with settings that
            are proposed for the data, with reasons, of which those that are given here have priority.
        explain: print what would be trained as Python, part by part, and train nothing.
        out: the run folder; without it, runs/RECIPE, or runs/RECIPE-2 where that exists.
        resume: go on in --out from its last checkpoint, or from the beginning where there is none.
        latent: dimensions of the latent space; without it, the recipe's own.
        tensorboard: write TensorBoard's logs as well, into a folder of that name, or of none into tensorboard in the run
            folder.
        reading: how DATA are read.
        training: how to train.
        model: the recipe's own arguments.
    """

    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
    recipe: str | None = None
    explain: bool = False
    out: Path | None = None
    resume: bool = False
    latent: int | None = None
    tensorboard: Annotated[tuple[Path, ...] | None, arg(metavar="[DIR]")] = None
    reading: Annotated[Reading, arg(name="")] = field(default_factory=Reading)
    training: OmitArgPrefixes[Training] = field(default_factory=Training)
    model: Networks = field(default_factory=Networks)


@dataclass(frozen=True)
class Tune:
    """Try settings of a recipe, each in a run folder of its own, and say which are better by differences that are real.

    Trials are judged on the validation split, in nats. The same command goes on with a sweep that was stopped or killed.

    Attributes:
        data: as `unveil train` takes it.
        recipe: a name from `unveil recipes`; without it, what `unveil train` would take for the data.
        trials: how many are to have ended, finished or pruned, those of earlier calls included.
        jobs: how many are trained side by side, each with its part of the CPU threads.
        space: what is tried: NAME=LOW..HIGH, NAME=LOW..HIGH:log, NAME=a,b,c, or NAME for its usual range; give the option
            once for each setting. Without it, the usual ranges of all settings that matter to the recipe.
        epochs: of a trial; without it, the recipe's own.
        pruner: what ends trials that do badly early: the median of the others, successive halving, or nothing.
        samples: K, draws of z for each validation example.
        images: how many validation examples, drawn by the seed; without it, all.
        seed: of proposals, trainings and evaluations.
        device: where to train: cpu, cuda, cuda:1.
        out: the folder of the sweep; without it, runs/tune-RECIPE.
        reading: how DATA are read.
    """

    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
    recipe: str | None = None
    trials: int = 20
    jobs: int = 1
    space: UseAppendAction[tuple[str, ...]] = ()
    epochs: int | None = None
    pruner: Literal["median", "halving", "none"] = "median"
    samples: int = 100
    images: int | None = None
    seed: int = 0
    device: str = "cpu"
    out: Path | None = None
    reading: Annotated[Reading, arg(name="")] = field(default_factory=Reading)


@dataclass(frozen=True)
class Inspect:
    """Show what would be trained on: counts, shapes, values, the space and likelihood, and every file that is wrong.

    Attributes:
        data: a name, a file or a folder, as `unveil train` takes it.
        out: a .png sheet of some of the images; without it, inspect.png where they are images.
        reading: how DATA are read.
    """

    data: Positional[Annotated[str, arg(metavar="DATA")]]
    out: Path = Path("inspect.png")
    reading: Annotated[Reading, arg(name="")] = field(default_factory=Reading)


@dataclass(frozen=True)
class Demo:
    """Train the mnist-2d recipe, draw its latent plane, and say how good it is: about a minute and a half.

    Attributes:
        out: the run folder; without it, runs/mnist-2d, or runs/mnist-2d-2 where that exists.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        training: how to train.
    """

    out: Path | None = None
    data_dir: Path | None = None
    training: OmitArgPrefixes[Training] = RECIPES["mnist-2d"].training


@dataclass(frozen=True)
class RefitPrior:
    """Fit a new prior to the encodings of a trained model, whose other weights stay, and leave a new run folder.

    Attributes:
        run: a run folder.
        prior: mixture, vamp, coupling, maf, spline, two-stage (nats with it are bounds), or autoregressive for codes.
        out: the new run folder; without it, RUN-PRIOR, or RUN-PRIOR-2 where that exists.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        training: how to train.
    """

    run: RunFolder
    prior: str
    out: Path | None = None
    data_dir: Path | None = None
    training: OmitArgPrefixes[Training] = REFIT


@dataclass(frozen=True)
class Recipes:
    """List the recipes."""
