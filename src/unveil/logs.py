"""Logs that people watch already: `TensorBoard` writes those, and `scalars` names the figures of an epoch for others.

A monitor has three methods, `begin`, `step` and `epoch` (`training/watching.py`). TensorBoard is imported when it begins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unveil import album, pictures
from unveil.data import is_ink
from unveil.errors import SettingError
from unveil.training.watching import Watched

log = logging.getLogger(__name__)

FIGURES = ("loss", "neg_elbo", "distortion", "rate")
"""What a record has of training, and under `validation` of that, in nats per example."""
WIDTH = 500
"""Pixels that a sheet is wide, about."""
SHOWN = 2_000
"""Encoded examples in the latent plane."""


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an epoch: 'loss/training', 'loss/validation' and so on, nats per example, and 'skipped' steps."""
    both = {"training": record, "validation": record.get("validation", {})}
    found = {f"{name}/{split}": one[name] for name in FIGURES for split, one in both.items() if name in one}
    return {**found, "skipped": record["skipped"]}


class TensorBoard:
    """A monitor that writes for TensorBoard: curves, sheets of samples, the latent plane, and how the run was made.

    Figures are those of metrics.jsonl at the same steps, and the learning rate beside them. Images are drawn by a copy of
    the model, with the averaged weights: `samples` are E[x|z] for the same noise each time, hence for the same z under a
    prior that does not learn; `latent_plane` is where examples of the validation split are put, on two principal directions
    where z has more than two dimensions; `manifold` is what the plane decodes to where z has no more. A run that is resumed
    goes on in its folder, and what was written after the step that it goes on from is hidden.

    Args:
        folder: where event files go, a folder for each run; None for `tensorboard` in the run folder.
        pictures: how many times in a run pictures are drawn at most; 0 for never.
        command: what was typed, to be shown beside the recipe; empty where nothing was.

    Raises:
        SettingError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path | None = None, pictures: int = 25, command: str = "") -> None:
        if find_spec("tensorboard") is None:
            raise SettingError("TensorBoard is not installed; pip install 'unveil[tensorboard]'")
        if pictures < 0:
            raise SettingError(f"pictures cannot be drawn {pictures} times; give 0 or more")
        self.folder, self.pictures, self.command = folder, pictures, command

    def begin(self, watched: Watched) -> None:
        """Open the event file, and say what is trained."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self.folder
        if folder is None:
            if watched.path is None:
                raise SettingError("there is no run folder to write into; give TensorBoard a folder")
            folder = watched.path / "tensorboard"
        self.watched = watched
        first = watched.done + 1  # from which on everything is written anew
        self.writer = SummaryWriter(str(folder), purge_step=first)
        self.writer.add_text("run", told(watched.about, self.command), first)
        self.writer.flush()
        log.info("TensorBoard's logs go to %s; see them by: tensorboard --logdir %s", folder, folder)

    def step(self, step: int) -> None:
        """Nothing is read from the device between epochs."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Write the figures, and pictures where it is their turn."""
        step, last = record["step"], record["step"] >= self.watched.steps
        for name, value in scalars(record).items():
            self.writer.add_scalar(name, value, step)
        self.writer.add_scalar("learning_rate", self.watched.learning_rate(step), step)
        if self.pictures and (last or record["epoch"] % self._every() == 0):
            for name, pixels in self._drawn().items():
                self.writer.add_image(name, pixels, step, dataformats="HWC")
        self.writer.flush()  # whoever is killed has lost nothing
        if last:
            self.writer.close()

    def _every(self) -> int:
        """Epochs from one picture to the next."""
        return -(-self.watched.steps // self.watched.steps_per_epoch // self.pictures)

    def _drawn(self) -> dict[str, np.ndarray]:
        """(H, W, C) bytes of each picture."""
        model, data = self.watched.model(), self.watched.data
        white, ink = data.space.white, is_ink(data)
        found: dict[str, np.ndarray] = {}
        if data.space.is_image:
            found["samples"] = pictures.enlarged(pictures.sheet(album.means(model, data).numpy(), ink=ink), WIDTH)
        split = data.validation if len(data.validation) else data.train
        figure, plane = album.latent_plane(model, data, split.sample(SHOWN, 0))
        found["latent_plane"] = pictures.drawn(figure)
        if plane is not None and not plane.principal:
            found["manifold"] = pictures.enlarged(album.manifold(model, plane, white, ink), WIDTH)
        return found


def told(about: Mapping[str, Any], command: str = "") -> str:
    """What run.json says of recipe, data and training as a table in Markdown, below the command."""
    rows = {name: about[name] for name in ("recipe", "precision", "threads", "platform") if name in about}
    data = about.get("data", {})
    rows |= {f"data {name}": data[name] for name in ("name", "measure", "shape", "rows", "fingerprint") if name in data}
    for of, prefix in (("settings", "model."), ("training", ""), ("versions", "version of ")):
        rows |= {f"{prefix}{name}": value for name, value in about.get(of, {}).items()}
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join([*([f"    {command}", ""] if command else []), "| what | is |", "|---|---|", *lines])


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
