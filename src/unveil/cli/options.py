"""What each command takes. One dataclass a command: the terminal's options and their help come from here alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from unveil.data.held import Held
from unveil.data.images.how import How
from unveil.data.mapped import File
from unveil.data.pick import Pick
from unveil.data.tables.table import How as TableHow
from unveil.recipes import RECIPES, Networks
from unveil.recipes.priors import REFIT
from unveil.training.config import Training

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Train:
    """Train a model on DATA and leave a run folder with the model and its pictures.

    Attributes:
        data: mnist, digits, shapes, linear-gaussian, a .npy or .npz file, a table (.csv, .tsv, .parquet), or a folder of
            images or shards; it must be named, and `unveil demo` is the command that names MNIST itself.
        recipe: a name from `unveil recipes`; without it, the one named like the data, table for a table, else vae.
        out: the run folder; without it, runs/RECIPE, or runs/RECIPE-2 where that exists.
        resume: go on in --out from its last checkpoint, or from the beginning where there is none.
        latent: dimensions of the latent space; without it, the recipe's own.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how x is read: binary (binarised afresh at each visit), unit (gray values), levels (0..255), real or count;
            without it, as is usual for such data.
        images: how a folder of images, or of shards, is read.
        file: how a .npy or .npz file is read.
        pick: which columns of Parquet shards are read.
        table: how a table is read.
        held: what validates and tests.
        training: how to train.
        model: the recipe's own arguments.
    """

    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    latent: int | None = None
    data_dir: Path | None = None
    measure: Literal["binary", "unit", "levels", "real", "count"] | None = None
    images: OmitArgPrefixes[How] = field(default_factory=How)
    file: OmitArgPrefixes[File] = field(default_factory=File)
    pick: OmitArgPrefixes[Pick] = field(default_factory=Pick)
    table: OmitArgPrefixes[TableHow] = field(default_factory=TableHow)
    held: OmitArgPrefixes[Held] = field(default_factory=Held)
    training: OmitArgPrefixes[Training] = field(default_factory=Training)
    model: Networks = field(default_factory=Networks)


@dataclass(frozen=True)
class Inspect:
    """Show what would be trained on: counts, shapes, values, the space and likelihood, and every file that is wrong.

    Attributes:
        data: a name, a file or a folder, as `unveil train` takes it.
        out: a .png sheet of some of the images; without it, inspect.png where they are images.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how x is read: binary (binarised afresh at each visit), unit (gray values), levels (0..255), real or count;
            without it, as is usual for such data.
        images: how a folder of images, or of shards, is read.
        file: how a .npy or .npz file is read.
        pick: which columns of Parquet shards are read.
        table: how a table is read.
        held: what validates and tests.
    """

    data: Positional[Annotated[str, arg(metavar="DATA")]]
    out: Path = Path("inspect.png")
    data_dir: Path | None = None
    measure: Literal["binary", "unit", "levels", "real", "count"] | None = None
    images: OmitArgPrefixes[How] = field(default_factory=How)
    file: OmitArgPrefixes[File] = field(default_factory=File)
    pick: OmitArgPrefixes[Pick] = field(default_factory=Pick)
    table: OmitArgPrefixes[TableHow] = field(default_factory=TableHow)
    held: OmitArgPrefixes[Held] = field(default_factory=Held)


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
class Sample:
    """Call a trained model: x ~ p(x|z) with z ~ p(z).

    Attributes:
        run: a run folder.
        n: how many.
        seed: the same seed gives the same samples; without it, fresh ones.
        mean: give E[x|z], which is smoother to look at, instead of x.
        out: of images a .png sheet, or a folder for one .png each, of the size and tones of the data; of a table a .csv or
            .parquet file; a .npy array of any x. Without it, samples.png, samples.csv, or samples.npy where x are neither.
        label: which class, by its name or number, where the model is conditioned on labels.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    n: Annotated[int, arg(aliases=["-n"])] = 64
    seed: int | None = None
    mean: bool = False
    label: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Encode:
    """Write the posteriors q(z|x) of DATA: arrays mean, scale, label and index, and, of a folder of images, files.

    Attributes:
        run: a run folder.
        data: what to encode; without it, what the run was trained on.
        out: a .npz file.
        split: which split of the data.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path = Path("z.npz")
    split: Split = "test"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Reconstruct:
    """Draw examples of DATA over their reconstructions.

    Attributes:
        run: a run folder.
        data: what to reconstruct; without it, what the run was trained on.
        out: a .png sheet.
        n: how many examples.
        split: which split of the data.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path = Path("reconstructions.png")
    n: Annotated[int, arg(aliases=["-n"])] = 40
    split: Split = "test"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Impute:
    """Write a table again with its gaps filled: by E[x|what is known of the row], or the most probable class.

    Attributes:
        run: the run folder of a table.
        data: which table; without it, the one that the run was trained on.
        out: a .csv or .parquet file. What is known, and columns that the model does not read, stay as they are.
        samples: K, draws of z for each row.
        seed: of the draws.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path = Path("filled.csv")
    samples: int = 1_000
    seed: int = 0


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

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    prior: str
    out: Path | None = None
    data_dir: Path | None = None
    training: OmitArgPrefixes[Training] = REFIT


@dataclass(frozen=True)
class Evaluate:
    """Say how good a model is, in nats, on the test split; also writes report.json in the run folder.

    Figures of another split, or of other data, have a file of their own there, named in the last line.

    Attributes:
        run: a run folder.
        data: other data than it was trained on; without it, those.
        out: a .json file that the figures are written to as well.
        samples: K, draws of z for each example.
        images: how many examples, drawn by the seed; without it, all.
        seed: of binarisation, noise and subset.
        also: sections beside the nats: quadrature, annealing, sandwich, gaps, aggregate, latent, factors, samples,
            memory; or all.
        defensive: share of the draws that do not come from the encoder, for peaks that it misses, where z has few
            dimensions: 0.5. In tens of dimensions it finds nothing.
        split: which split of the data, or all of it, for data that the run has never seen.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        threads: CPU threads; 0 for as many as torch takes.
        device: where to compute: cpu, cuda, cuda:1.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    out: Path | None = None
    samples: int = 500
    images: int | None = None
    seed: int = 0
    also: tuple[str, ...] = ()
    defensive: float = 0.0
    split: Split | Literal["all"] = "test"
    data_dir: Path | None = None
    threads: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Compare:
    """Say which of several runs is better on the very same examples, and which differences are real.

    Each must have been evaluated, on the same split, images and seed.

    Attributes:
        runs: two run folders or more; or reports in them, RUN/report-NAME.json, of another split or other data.
        figure: nll (the estimate of -log p(x)), quadrature where both reports have it, neg_elbo, or distortion.
        pairs: all of them, or each against the best.
        level: of intervals and verdicts.
    """

    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN RUN ...")]]
    figure: Literal["nll", "quadrature", "neg_elbo", "distortion"] = "nll"
    pairs: Literal["all", "best"] = "all"
    level: float = 0.95


@dataclass(frozen=True)
class Doctor:
    """Say what is wrong with a run or with data, on which evidence, and what to change. Exit code 1 if anything is wrong.

    Attributes:
        what: a run folder, or what `unveil train` takes as DATA.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how the x of data are read; without it, as is usual for such data.
        seed: of the examples that are looked at.
    """

    what: Positional[Annotated[str, arg(metavar="RUN|DATA")]]
    data_dir: Path | None = None
    measure: Literal["binary", "unit", "levels", "real", "count"] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Verify:
    """Check a model's mathematics against what must hold of every model. Exit code 1 if anything does not.

    Attributes:
        model: a run folder; a recipe's name; or MODULE:FUNCTION of your own, which is imported and called with the data
            and returns model and objective.
        data: what the recipe or function is for.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how x is read; without it, as is usual for such data.
        seed: of everything random.
        all: print every check, not only those that failed or do not apply.
    """

    model: Positional[Annotated[str, arg(metavar="MODEL")]]
    data: str = "digits"
    data_dir: Path | None = None
    measure: Literal["binary", "unit", "levels", "real", "count"] | None = None
    seed: int = 0
    all: bool = False


@dataclass(frozen=True)
class Score:
    """Score how unlike the data each example is, and flag those above a threshold with a stated false-positive rate.

    The threshold comes from the run's own validation split.

    Attributes:
        run: a run folder.
        data: what to score; without it, the test split of what the run was trained on.
        fpr: share of normal examples that may be flagged.
        by: typicality (two-sided), likelihood (-log p(x) itself), or complexity (of binary images).
        out: a .csv or .parquet file, a row for each example: which split of the data, which file of a folder
            of images, which row of its source, and scores.
        maps: a .png of the most anomalous images over what in them surprises.
        split: which split of the data, or all of it; without it all of other data, and the test split of the run's own.
        samples: K, draws of z for each example.
        seed: of everything random.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="[DATA]")]] = None
    fpr: float = 0.01
    by: Literal["typicality", "likelihood", "complexity"] = "typicality"
    out: Path = Path("scores.csv")
    maps: Path | None = None
    split: Split | Literal["all"] | None = None
    samples: int = 100
    seed: int = 0
    data_dir: Path | None = None


@dataclass(frozen=True)
class Recipes:
    """List the recipes."""
