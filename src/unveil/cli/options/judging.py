"""What the commands take that say how good a run is, what is wrong with it, and what is unlike its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from unveil.cli.options.shared import AnySplit, Data, Measure, RunFolder


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

    run: RunFolder
    data: Data = None
    out: Path | None = None
    samples: int = 500
    images: int | None = None
    seed: int = 0
    also: tuple[str, ...] = ()
    defensive: float = 0.0
    split: AnySplit = "test"
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

    runs: Positional[Annotated[tuple[str, ...], arg(metavar="RUN RUN ...")]]
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
    measure: Measure | None = None
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
    measure: Measure | None = None
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

    run: RunFolder
    data: Data = None
    fpr: float = 0.01
    by: Literal["typicality", "likelihood", "complexity"] = "typicality"
    out: Path = Path("scores.csv")
    maps: Path | None = None
    split: AnySplit | None = None
    samples: int = 100
    seed: int = 0
    data_dir: Path | None = None
