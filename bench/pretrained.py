"""The models that come with the package: train each by its command, round it to half precision, evaluate, and write it.

    python bench/pretrained.py [NAME ...] [--room DIR] [--write]

The figures are those of the rounded weights, as they ship, on the whole test split. In --room a model that is trained there
already is not trained again. With --write the run folders go to src/unveil/pretrained_models/: weights, run.json, curves
and report card, without checkpoints and pictures. A quarter of an hour on one core of a busy machine.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import mkdtemp

import torch

import unveil
from unveil.cli import main as command
from unveil.cli.progress import EvaluationBar
from unveil.opening import PRETRAINED
from unveil.run import Run
from unveil.store import Reports, RunFolder
from unveil.store.half import HALF, STORED
from unveil.training.average import state_of

COMMANDS = {
    "mnist-2d": "train mnist --recipe mnist-2d --model.hidden 256 128 --epochs 60 --threads 1",
    "mnist": "train mnist --latent 24 --model.hidden 300 300 --model.activation silu --epochs 90 --threads 1",
}
"""What `unveil` is given for each; the seed is 0."""
SECTIONS = {"mnist-2d": ("quadrature", "latent", "samples"), "mnist": ("latent", "samples")}
NOTE = (
    "The weights were rounded to half precision after training, and the figures are those of the rounded weights; curves "
    "and the best validation loss are those of training, before."
)
KEPT = ("run.json", "model.safetensors", "report.json", "report.safetensors", "metrics.jsonl", "timing.jsonl")


def trained(name: str, room: Path) -> Run:
    """The model as its command leaves it."""
    out = room / name / "trained"
    if not (out / "run.json").is_file() and command([*COMMANDS[name].split(), "--out", str(out)]):
        raise SystemExit(f"{name} could not be trained")
    return unveil.open(out)


def rounded(run: Run, out: Path) -> Run:
    """The same in half precision, in a folder of its own."""
    assert run.path is not None
    shutil.rmtree(out, ignore_errors=True)
    folder = RunFolder(out)
    folder.create(resume=False)
    state = state_of(torch.nn.ModuleDict({"model": run.model, "objective": run.objective}))
    manifest = {name: said for name, said in run.manifest.items() if name not in ("format", "tensors")}
    folder.finish(state, {**manifest, STORED: HALF, "notes": [NOTE]})
    for name in ("metrics.jsonl", "timing.jsonl"):
        shutil.copyfile(run.path / name, out / name)
    return unveil.open(out)


def evaluated(name: str, run: Run, images: int | None) -> None:
    """Its report card, with the values of single images in float32."""
    assert run.path is not None
    print(run.evaluate(also=SECTIONS[name], images=images, watcher=EvaluationBar()), flush=True)
    said, values = Reports(run.path).read()
    said.pop("tensors")
    Reports(run.path).write(said, {of: value.float() for of, value in values.items()})


def main() -> None:
    """Make those that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(COMMANDS), metavar="NAME")
    parser.add_argument("--room", type=Path, help="where to train; without it, a new folder")
    parser.add_argument("--images", type=int, help="test images; without it, all")
    parser.add_argument("--write", action="store_true", help="put them into the package")
    given = parser.parse_args()
    room = given.room or Path(mkdtemp(prefix="pretrained-"))
    for name in given.names:
        half = room / name / "half"
        evaluated(name, rounded(trained(name, room), half), given.images)
        size = sum((half / file).stat().st_size for file in KEPT)
        print(f"{name}: {size:,} bytes in {half}", flush=True)
        if given.write:
            target = PRETRAINED / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for file in KEPT:
                shutil.copyfile(half / file, target / file)


if __name__ == "__main__":
    main()
