"""Commands that train: a model, the first one of all, or a new prior for one that is trained; and the list of recipes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unveil.cli import options
from unveil.cli.common import CODES, command, introduce, load, start
from unveil.cli.numbers import lines, show
from unveil.cli.parsing import parse, parse_train
from unveil.errors import SettingError
from unveil.recipes import EVERY, RECIPES
from unveil.words import counted

if TYPE_CHECKING:
    from unveil.data import Dataset
    from unveil.evaluation import Report
    from unveil.run import Run
    from unveil.training import Training
    from unveil.training.watching import Monitor

FEW = 100
"""Steps below which hardly anything is learnt."""
FEW_ROWS = 50
"""Training rows below which hardly anything is learnt of others."""
NO_DATA = (
    "there is no DATA to train on; name mnist, digits, shapes, linear-gaussian, a .npy, .npz, .csv, .tsv or .parquet "
    "file, or a folder of images or shards (unveil demo trains on MNIST)"
)


def train(arguments: list[str]) -> int:
    """`unveil train`."""
    given, chosen = parse_train(arguments)
    if given.data is None:
        hint = "; what follows --tensorboard is its folder, so put DATA before it" if given.tensorboard else ""
        raise SettingError(f"{NO_DATA}{hint}")
    start()
    monitors = [] if given.tensorboard is None else [_tensorboard(given.tensorboard, arguments)]
    from unveil.launch import require_place, unnamed
    from unveil.training.ranks import join

    team = join(given.training.timeout)
    with team.failing_together():
        if not given.explain:
            require_place(given.out, given.resume, team)
        data = load(given.data, given.reading)
    proposal = unnamed(data, given.out, given.resume) if given.recipe is None else None
    if proposal is not None:
        given, chosen = parse_train(arguments, proposal.recipe)
    if given.latent is not None:
        chosen = chosen.given(latent=given.latent)
    if given.explain:
        from unveil.explain import explained

        print(explained(chosen, data))
        return 0
    introduce(data)
    if team.rank == 0:
        reasons = [] if proposal is None else proposal.holding(chosen)
        lines("proposed for these data" if reasons else "", reasons, [])
        for sentence in _little(data, chosen.training):
            print(f"-> {sentence}")
    run, code = _train(data, chosen, given.out, given.resume, monitors)
    if code or team.rank > 0:
        return code
    print(f"the model is in {run.path}, its pictures in {run.path}/pictures{_kept(run)}")
    print(f"next: {command()} evaluate {run.path}    {command()} sample {run.path} -n 64 --out samples{_suffix(data)}")
    return code


def _tensorboard(folders: tuple[Path, ...], arguments: list[str]) -> Monitor:
    """What writes TensorBoard's logs into the folder that was named, if any was."""
    from unveil.logs import TensorBoard

    if len(folders) > 1:
        raise SettingError(f"--tensorboard takes one folder, not {' and '.join(map(str, folders))}; put DATA before it")
    return TensorBoard(next(iter(folders), None), command=shlex.join([command(), "train", *arguments]))


def _suffix(data: Dataset) -> str:
    """What its samples can be written as."""
    return ".png" if data.space.is_image else ".csv" if data.columns else ".npy"


def _little(data: Dataset, training: Training) -> list[str]:
    """What to change where there is too little to learn from, of steps or of rows."""
    rows = len(data.train)
    batch = min(training.batch_size, rows)
    steps, said = training.epochs * (rows // batch), []
    if steps < FEW:
        smaller = f", or a --batch-size below {batch}" if batch > 1 else ""
        enough = -(-FEW // (rows // batch))
        said.append(
            f"{counted(steps, 'step')} in all, of which a model learns hardly anything: give --epochs {enough} or "
            f"more{smaller}"
        )
    if rows < FEW_ROWS:
        said.append(
            f"{counted(rows, 'training row')}, which a model soon knows by heart: give more of them, or smaller shares by "
            "--validation and --test"
        )
    return said


def _kept(run: Run) -> str:
    """Which weights it has, where they are not the last ones."""
    best = run.manifest["outcome"]["best_step"]
    epochs = [record["epoch"] for record in run.metrics() if record["step"] == best]
    last = run.metrics()[-1]["epoch"] if run.metrics() else 0
    if not epochs or epochs[0] == last:
        return ""
    return f"; its weights are those after epoch {epochs[0]} of {last}, the best on the validation split"


def _train(
    data: Dataset, chosen: object, out: Path | None, resume: bool = False, monitors: Sequence[Monitor] = ()
) -> tuple[Run, int]:
    """Train with a bar and draw the pictures; the exit code says whether somebody stopped it."""
    from unveil.launch import train
    from unveil.recipes import Recipe

    assert isinstance(chosen, Recipe)
    work = partial(train, data, recipe=chosen, out=out, resume=resume)
    return _watched(data, work, "what was trained so far is saved. Go on with --out {} --resume", monitors)


def _watched(data: Dataset, work: Callable[..., Run], stopped: str, monitors: Sequence[Monitor] = ()) -> tuple[Run, int]:
    """Do work that trains, with a bar, and draw its pictures; the exit code says whether somebody stopped it.

    Whoever stops it has seconds, after which the machine may be gone: then no pictures are drawn. `stopped` says so then,
    with the run folder in the place of {}. Others may be told beside the bar: `monitors`.
    """
    from unveil.cli.progress import TrainingBar, say
    from unveil.training.ranks import joined

    bar = TrainingBar()
    try:
        run = work(monitor=[bar, *monitors])
    finally:
        bar.close()
    outcome, team = run.manifest["outcome"], joined()
    if not outcome["finished"]:
        if team.speaks():
            say(f"stopped after {counted(outcome['steps'], 'step')}; {stopped.format(run.path)}")
        team.spoke()
        return run, CODES[outcome["stopped_by"] or "SIGINT"]
    if team.rank > 0:
        return run, 0
    from unveil import album

    assert run.path is not None
    album.draw(run.model, run.suited(data), run.metrics(), run.path / "pictures")
    return run, 0


def demo(arguments: list[str]) -> int:
    """`unveil demo`."""
    given = parse(options.Demo, "demo", arguments)
    start()
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
    show(found)
    print(_tour(run, data, found))
    return 0


def _tour(run: Run, data: Dataset, found: Report) -> str:
    place, me = run.path, command()
    assert found.nll is not None
    return f"""
What you have now, in {place}:
  a generative model of {data.name}: it draws a point in a plane and turns it into a picture;
  pictures/latent_plane.png     where the model puts {len(data.test):,} test images it never learnt from
  pictures/manifold.png         what it makes of each point of the plane
  pictures/samples.png          images that it invented, as means: E[x|z] for z from the prior
  pictures/reconstructions.png  originals, each over what is left of it after two numbers
  pictures/curves.png           how training went
It needs {found.nll.value:,.1f} ± {found.nll.stderr:,.1f} nats for a test image; lower is better.

Try next:
  {me} sample {place} -n 64 --seed 1 --out samples.png
  {me} encode {place} {data.name} --out z.npz
  {me} evaluate {place}
  {me} train {data.name} --latent 10
In Python: unveil.open("{place}").model.sample(64)"""


def refit_prior(arguments: list[str]) -> int:
    """`unveil refit-prior`."""
    given = parse(options.RefitPrior, "refit-prior", arguments)
    start()
    import unveil
    from unveil import refit

    run = unveil.open(given.run)
    refit.require(given.prior)
    data = run.load_data(given.data_dir)
    work = partial(refit.refit_prior, run, given.prior, out=given.out, training=given.training)
    refitted, code = _watched(data, work, "the prior as it was then is saved")
    if code:
        return code
    print(f"the model with its new prior is in {refitted.path}, its pictures in {refitted.path}/pictures")
    return code


def recipes(arguments: list[str]) -> int:
    """`unveil recipes`."""
    parse(options.Recipes, "recipes", arguments)
    width = max(map(len, RECIPES)) + 2
    for one in RECIPES.values():
        takes = "any x" if one.measures == EVERY else f"x: {' or '.join(one.measures)}"
        print(f"{one.name:{width}}{one.summary}\n{'':{width}}{one.source}; {takes}")
    print("train one with: unveil train DATA --recipe NAME; its own arguments: unveil train --recipe NAME --help")
    return 0
