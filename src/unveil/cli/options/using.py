"""What the commands take that have a trained model make something: samples, encodings, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unveil.cli.options.shared import Count, Data, OneSplit, RunFolder


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

    run: RunFolder
    n: Count = 64
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

    run: RunFolder
    data: Data = None
    out: Path = Path("z.npz")
    split: OneSplit = "test"
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

    run: RunFolder
    data: Data = None
    out: Path = Path("reconstructions.png")
    n: Count = 40
    split: OneSplit = "test"
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

    run: RunFolder
    data: Data = None
    out: Path = Path("filled.csv")
    samples: int = 1_000
    seed: int = 0
