"""The pictures of a page, made anew, each with a caption, what it says to whom cannot see it, and whether it shows data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from unveil import album
from unveil.data import Dataset, Space
from unveil.data.facts import short
from unveil.data.ink import was_ink
from unveil.errors import RunError
from unveil.run import Run


@dataclass(frozen=True)
class Shown:
    """A picture.

    Attributes:
        name: what it is.
        png: its bytes.
        caption: how to read it.
        alt: what it shows, in words.
        wide: whether it takes the whole width of a page.
    """

    name: str
    png: bytes
    caption: str
    alt: str
    wide: bool = False


TEXTS = {
    "latent_plane": (
        "Where the encoder puts test examples: each point is one of them, at its posterior mean. What lies together the "
        "model takes for alike.",
        "Scatter plot of test examples in the latent plane, coloured by label where there are labels.",
    ),
    "manifold": (
        "What the decoder makes of each point of the plane: E[x|z] on a grid of the prior's quantiles, so that every "
        "picture stands for the same probability.",
        "A square grid of decoded images that change smoothly from each to the next.",
    ),
    "samples": (
        "Images that the model invented: z drawn from the prior, shown as means E[x|z], which are smoother than x.",
        "A sheet of images drawn from the model.",
    ),
    "reconstructions": (
        "Test images, each over what is left of it after encoding and decoding: E[x|z] at the posterior mean.",
        "Rows of original images, each row above the row of its reconstructions.",
    ),
    "columns": (
        "The columns of the table: test rows filled, samples of the model as a line.",
        "Small histograms, one for each column, of test rows and of samples over each other.",
    ),
    "curves": (
        "Training (solid) and, with averaged weights, the validation split (dashed).",
        "Line chart of -ELBO, distortion and rate over the epochs; the figures stand in the table of the last epoch.",
    ),
}
"""Caption and alternative text of each picture, by the name of its file, in the order of a page."""
WIDE = ("columns", "curves")


def with_data(run: Run, data: Dataset) -> list[Shown]:
    """All pictures that can be drawn of a run and these data."""
    return _made(lambda folder: album.draw(run.model, run.suited(data), run.metrics(), folder))


def without_data(run: Run) -> list[Shown]:
    """Those that show nothing of the data."""
    said = run.manifest["data"]
    space = Space(tuple(said["shape"]), said["measure"], said.get("levels", 256))
    classes = said.get("classes", 0)
    context = None if not classes else torch.eye(classes).repeat_interleave(-(-album.SHEET // classes), 0)[: album.SHEET]
    title = short(str(said.get("name", "")))
    ink = was_ink(said)
    return _made(
        lambda folder: album.draw_without_data(run.model, space, context, title, run.metrics(), folder, ink),
    )


def _made(draw: Callable[[Path], object]) -> list[Shown]:
    with TemporaryDirectory() as place:
        try:
            draw(Path(place))
        except (KeyError, TypeError) as error:
            raise RunError(f"metrics.jsonl is damaged ({type(error).__name__}: {error}); mend or remove it") from None
        return [
            Shown(name.replace("_", " "), path.read_bytes(), *text, name in WIDE)
            for name, text in TEXTS.items()
            if (path := Path(place) / f"{name}.png").is_file()
        ]
