"""What each command does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.errors import DataError, SettingError
from unveil.recipes import EVERY, RECIPES

if TYPE_CHECKING:
    from unveil.data import Dataset
    from unveil.evaluation import Nats
    from unveil.run import Run

INTERRUPTED = 130


def _start() -> None:
    from unveil.cli.progress import Handler

    log = logging.getLogger("unveil")
    log.handlers[:] = [Handler(logging.WARNING)]
    log.propagate = False


def train(arguments: list[str]) -> int:
    """`unveil train`."""
    given, chosen = options.parse_train(arguments)
    if given.latent is not None:
        chosen = chosen.given(latent=given.latent)
    _start()
    import unveil

    data = unveil.load(given.data, data_dir=given.data_dir, measure=given.measure)
    print(data)
    run, code = _train(data, chosen, given.out, given.resume)
    print(f"the model is in {run.path}, its pictures in {run.path}/pictures")
    print(f"next: {_command()} evaluate {run.path}    {_command()} sample {run.path} -n 64 --out samples.png")
    return code


def _train(data: Dataset, chosen: object, out: Path | None, resume: bool = False) -> tuple[Run, int]:
    """Train with a bar and draw the pictures; the exit code says whether somebody stopped it."""
    from unveil.launch import train
    from unveil.recipes import Recipe

    assert isinstance(chosen, Recipe)
    work = partial(train, data, recipe=chosen, out=out, resume=resume)
    return _watched(data, work, "what was trained so far is saved. Go on with --resume")


def _watched(data: Dataset, work: Callable[..., Run], stopped: str) -> tuple[Run, int]:
    """Do work that trains, with a bar, and draw its pictures; the exit code says whether somebody stopped it."""
    from unveil import album
    from unveil.cli.progress import TrainingBar, say

    bar = TrainingBar()
    try:
        run = work(monitor=bar)
    finally:
        bar.close()
    outcome = run.manifest["outcome"]
    if not outcome["finished"]:
        say(f"stopped after {outcome['steps']} steps; {stopped}")
    assert run.path is not None
    album.draw(run.model, run.suited(data), run.metrics(), run.path / "pictures")
    return run, 0 if outcome["finished"] else INTERRUPTED


def demo(arguments: list[str]) -> int:
    """`unveil demo`."""
    given = options.parse(options.Demo, "demo", arguments)
    _start()
    import unveil
    from unveil.cli.progress import EvaluationBar
    from unveil.data.mnist import NotFoundError

    try:
        data = unveil.load("mnist", data_dir=given.data_dir)
    except NotFoundError:
        print("MNIST can be neither found nor fetched here; going on with scikit-learn's 1,797 small handwritten digits.")
        data = unveil.load("digits")
        # so few images make seven steps an epoch
        few = replace(given.training, epochs=16 * given.training.epochs, validate_every=10, checkpoint_every=100)
        given = replace(given, training=few)
    print(data)
    chosen = replace(RECIPES["mnist-2d"], training=given.training)
    run, code = _train(data, chosen, given.out)
    if code:
        return code
    found = run.evaluate(images=1_000, watcher=EvaluationBar())
    _report(found)
    print(_tour(run, data, found))
    return 0


def _tour(run: Run, data: Dataset, found: Nats) -> str:
    place, me = run.path, _command()
    assert found.nll is not None
    return f"""
What you have now, in {place}:
  a generative model of {data.name}: it draws a point in a plane and turns it into a picture;
  pictures/latent_plane.png     where the model puts {len(data.test):,} test images it never learnt from
  pictures/manifold.png         what it makes of each point of the plane
  pictures/samples.png          images that it invented, as means: E[x|z] for z from the prior
  pictures/reconstructions.png  originals, each over what is left of it after two numbers
  pictures/curves.png           how training went
It needs {found.nll.value:.1f} ± {found.nll.stderr:.1f} nats for a test image; lower is better.

Try next:
  {me} sample {place} -n 64 --seed 1 --out samples.png
  {me} encode {place} {data.name} --out z.npz
  {me} evaluate {place}
  {me} train {data.name} --latent 10
In Python: unveil.open("{place}").model.sample(64)"""


def _command() -> str:
    """What the person calls this program."""
    return os.environ.get("UNVEIL_COMMAND", "unveil")


def _open(path: Path, data: str | None, data_dir: Path | None) -> tuple[Run, Dataset]:
    import unveil
    from unveil.preflight import check

    run = unveil.open(path)
    facts = run.manifest["data"]
    found = run.load_data(data_dir) if data is None else unveil.load(data, data_dir=data_dir, measure=facts["measure"])
    found = run.suited(found)
    check(run.model, found)
    return run, found


def sample(arguments: list[str]) -> int:
    """`unveil sample`."""
    given = options.parse(options.Sample, "sample", arguments)
    _start()
    import unveil
    from unveil.data import Space

    kind = _kind(given.out, (".png", ".npy", ""))
    run = unveil.open(given.run)
    x = run.model.sample(given.n, run.context(given.label, given.n), seed=given.seed, mean=given.mean)
    facts = run.manifest["data"]
    space = Space(tuple(facts["shape"]), facts["measure"], facts.get("levels", 256))
    if kind != ".npy" and not space.is_image:
        raise SettingError(f"samples of shape {tuple(x.shape[1:])} are no images; write them with --out samples.npy")
    from unveil import album

    if kind == ".png":
        album.samples(x / space.white, given.out)
    elif kind == ".npy":
        _save_array(given.out, x.numpy())
    else:
        digits = len(str(given.n - 1))
        for number, image in enumerate(x / space.white):
            album.samples(image[None], given.out / f"{number:0{digits}}.png")
    print(f"{given.n} {'means E[x|z]' if given.mean else 'samples'} in {given.out}")
    return 0


def encode(arguments: list[str]) -> int:
    """`unveil encode`."""
    given = options.parse(options.Encode, "encode", arguments)
    _start()
    import numpy as np

    from unveil import generation

    _kind(given.out, (".npz",))
    run, data = _open(given.run, given.data, given.data_dir)
    found = generation.encode(run.model, data.split(given.split))
    label = np.full(len(found.index), -1) if found.label is None else found.label.numpy()
    _save_array(given.out, mean=found.mean.numpy(), scale=found.scale.numpy(), label=label, index=found.index.numpy())
    print(f"{len(found.index):,} posteriors in {given.out}: mean and scale {tuple(found.mean.shape)}, label, index")
    return 0


def reconstruct(arguments: list[str]) -> int:
    """`unveil reconstruct`."""
    given = options.parse(options.Reconstruct, "reconstruct", arguments)
    _start()
    from unveil import album

    _kind(given.out, (".png",))
    if given.n < 1:
        raise SettingError(f"{given.n} examples cannot be drawn; ask for at least 1")
    run, data = _open(given.run, given.data, given.data_dir)
    if not data.space.is_image:
        raise DataError(f"{data.name} holds no images; unveil encode writes its posteriors")
    album.reconstructions(run.model, data.split(given.split), given.out, given.n, white=data.space.white)
    print(f"originals over reconstructions in {given.out}")
    return 0


def refit_prior(arguments: list[str]) -> int:
    """`unveil refit-prior`."""
    given = options.parse(options.RefitPrior, "refit-prior", arguments)
    _start()
    import unveil
    from unveil import refit

    run = unveil.open(given.run)
    refit.require(given.prior)
    data = run.load_data(given.data_dir)
    work = partial(refit.refit_prior, run, given.prior, out=given.out, training=given.training)
    refitted, code = _watched(data, work, "the prior as it was then is saved")
    print(f"the model with its new prior is in {refitted.path}, its pictures in {refitted.path}/pictures")
    return code


def evaluate(arguments: list[str]) -> int:
    """`unveil evaluate`."""
    given = options.parse(options.Evaluate, "evaluate", arguments)
    _start()
    from unveil.cli.progress import EvaluationBar
    from unveil.preflight import threads
    from unveil.training.precision import device_for

    if given.threads < 0:
        raise SettingError(f"{given.threads} threads cannot run; give 0 for as many as torch takes")
    device = device_for(given.device)
    run, data = _open(given.run, given.data, given.data_dir)
    run.model.to(device)
    with threads(given.threads):
        found = run.evaluate(
            data, split=given.split, samples=given.samples, images=given.images, seed=given.seed, watcher=EvaluationBar()
        )
    _report(found)
    print(f"also in {run.path}/report.json")
    return 0


def _report(found: Nats) -> None:
    """The figures, each with what it is."""
    rows: list[tuple[str, object]] = [("  distortion", found.distortion)]
    if found.rate is not None:
        rows.insert(0, ("-ELBO" if found.normalised else "cross-entropy + KL", found.neg_elbo))
        rows.append(("  rate", found.rate))
    if found.nll is not None:
        rows += [(f"-log p(x), K = {found.samples}", found.nll), ("  effective draws", found.ess)]
    print(f"{found.data}, {found.split} split, {found.measure} x, seed {found.seed}, {found.precision}")
    for name, figure in rows:
        print(f"{name:24}{figure}")
    if found.rate is None:
        print("the posterior has no density: its rate is infinite, and log p(x) has no estimate")
    elif found.nll is None and found.normalised:
        print("the posterior chooses one z with certainty: -ELBO bounds -log p(x), and weights of draws can tell no more")
    if not found.normalised:
        print("gray values have no likelihood here: this is the expected -ELBO of the binarised image, seen in gray")
    if found.ess is not None and found.ess.value < 2:
        print("the effective number of draws is below 2: take the estimate for an upper bound only")
    reached = "" if found.matrix_share is None else f", {found.matrix_share:.0%} of the machine's float32 matrix rate"
    print(f"took {found.seconds:.1f} s on {found.threads} threads{reached}")


def recipes(arguments: list[str]) -> int:
    """`unveil recipes`."""
    options.parse(options.Recipes, "recipes", arguments)
    width = max(map(len, RECIPES)) + 2
    for one in RECIPES.values():
        takes = "any x" if one.measures == EVERY else f"x: {' or '.join(one.measures)}"
        print(f"{one.name:{width}}{one.summary}\n{'':{width}}{one.source}; {takes}")
    print("train one with: unveil train DATA --recipe NAME; its own arguments: unveil train --recipe NAME --help")
    return 0


def _kind(path: Path, known: tuple[str, ...]) -> str:
    if path.suffix not in known:
        endings = ", ".join(ending or "a folder" for ending in known)
        raise SettingError(f"nothing can be written as {path.name}; known endings: {endings}")
    return path.suffix


def _save_array(path: Path, *array: object, **arrays: object) -> None:
    import io

    import numpy as np

    from unveil.store import write

    buffer = io.BytesIO()
    if arrays:
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
    else:
        np.save(buffer, array[0])  # type: ignore[arg-type]
    write(path, buffer.getvalue())
