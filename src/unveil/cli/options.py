"""What each command takes. One dataclass a command: the terminal's options and their help come from here alone."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from unveil.errors import SettingError
from unveil.recipes import RECIPES, GaussianVae
from unveil.training.config import Training

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Train:
    """Train a model on DATA and leave a run folder with the model and its pictures.

    Attributes:
        data: mnist, digits, linear-gaussian, or a .npy or .npz file.
        recipe: a name from `unveil recipes`; without it, the one named like the data, else vae.
        out: the run folder; without it, runs/RECIPE, or runs/RECIPE-2 where that exists.
        resume: go on in --out from its last checkpoint, or from the beginning where there is none.
        latent: dimensions of the latent space; without it, the recipe's own.
        data_dir: folder with MNIST's files; without it, $UNVEIL_DATA, else the user's cache.
        measure: how images are read: binary (binarised afresh at each visit) or unit (gray values).
        training: how to train.
        model: the recipe's own arguments.
    """

    data: Positional[Annotated[str, arg(metavar="DATA")]] = "mnist"
    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    latent: int | None = None
    data_dir: Path | None = None
    measure: Literal["binary", "unit", "real"] | None = None
    training: OmitArgPrefixes[Training] = field(default_factory=Training)
    model: GaussianVae = field(default_factory=GaussianVae)


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
        out: a .png sheet, a .npy array, or a folder for one .png each.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    n: Annotated[int, arg(aliases=["-n"])] = 64
    seed: int | None = None
    mean: bool = False
    out: Path = Path("samples.png")


@dataclass(frozen=True)
class Encode:
    """Write the posteriors q(z|x) of DATA: arrays mean, scale, label and index.

    Attributes:
        run: a run folder.
        data: what to encode; without it, what the run was trained on.
        out: a .npz file.
        split: which split of the data.
        data_dir: folder with MNIST's files.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
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
        data_dir: folder with MNIST's files.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
    out: Path = Path("reconstructions.png")
    n: Annotated[int, arg(aliases=["-n"])] = 40
    split: Split = "test"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Evaluate:
    """Say how good a model is, in nats, on the test split; also writes report.json.

    Attributes:
        run: a run folder.
        data: other data than it was trained on.
        samples: K, draws of z for each image.
        images: how many images, drawn by the seed; without it, all.
        seed: of binarisation, noise and subset.
        split: which split of the data.
        data_dir: folder with MNIST's files.
        threads: CPU threads; 0 for as many as torch takes.
        device: where to compute: cpu, cuda, cuda:1.
    """

    run: Positional[Annotated[Path, arg(metavar="RUN")]]
    data: Positional[Annotated[str | None, arg(metavar="DATA")]] = None
    samples: int = 500
    images: int | None = None
    seed: int = 0
    split: Split = "test"
    data_dir: Path | None = None
    threads: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Recipes:
    """List the recipes."""


Options = TypeVar("Options")


def parse(kind: type[Options], name: str, arguments: list[str], default: Options | None = None) -> Options:
    """The options of a command from its arguments; prints help and exits, or raises SettingError."""
    options: dict[str, Any] = {"prog": f"unveil {name}", "args": arguments, "config": (tyro.conf.FlagCreatePairsOff,)}
    if default is not None:
        options["default"] = default
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            found: Options = tyro.cli(kind, **options)
            return found
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise SettingError(f"{_one_line(said.getvalue())}; unveil {name} --help tells what it takes") from None


def _one_line(box: str) -> str:
    """What tyro says in a box of several lines."""
    lines = [line.strip("│ ") for line in box.splitlines()]
    inside = takewhile(lambda line: not line.startswith("──"), (line for line in lines if line[:1] not in ("╭", "╰", "")))
    text = " ".join(inside).removesuffix(".")
    return re.sub(r"^Error parsing [\w-]+: ", "", text) or "these arguments cannot be read"
