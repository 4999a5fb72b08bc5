"""Every recipe on MNIST under one budget, in docs/family.md: nats, rate, distortion, active units and a strip of samples.

    python bench/family.py [RECIPE ...] [--runs FOLDER] [--seconds 60] [--data-dir DIR] [--write]

Each recipe is a process of its own. A hundred steps and a look at the validation split are timed first; the epochs that
fit the budget are stated in the table, so that `unveil train mnist --recipe RECIPE --epochs N` gives the same model. With
--runs, what lies there is taken instead of trained anew, so that an interrupted bench goes on. About 75 s a recipe.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "family.md"
STRIPS = ROOT / "docs" / "family"
IMAGES, DRAWS, PILOT = 1_000, 500, 25
ELSEWHERE = ("mnist", "mnist-2d", "table", "iwae-50", "mnist-flow", "mnist-conv", "mnist-ladder")
"""Recipes that differ from another one by numbers, and are measured by other commands."""
ACTIVE = 0.01
"""Variance of the posterior means above which a dimension is active; Burda et al. 2016, arXiv:1509.00519."""
PAGE_TEXT = """# The family, on MNIST, in a minute each

Every recipe of `unveil recipes`, trained on stochastically binarised MNIST for about as many epochs as fit 60 seconds
on 2 cores of an AMD EPYC with bfloat16 (torch 2.13, PyTorch's CPU build), with the defaults of `unveil train mnist
--recipe RECIPE --epochs EPOCHS`. Figures are over 1,000 test images drawn by seed 0, each binarised once; -log p(x)
is the importance-weighted estimate with K = 500 draws in float32, an upper bound in expectation; ± is the standard
error over images. A minute is too short for any of them to be at its best, so read the table for what the kinds do,
not for which is better.

A posterior without density has an infinite rate, and no nats; one that chooses its codes with certainty has a bound,
-ELBO, and no estimate beyond it: 'none' stands there. Models without nats are shown sampling from a mixture of
Gaussians that was fitted to their encodings afterwards (`unveil refit-prior RUN --prior mixture`). The nats of `cvae`,
which is given the label, are -log p(x|y); `m2` sums over the classes. Active units are dimensions of z whose posterior
mean has a variance above 0.01 over the images. Samples are means E[x|z] with z from the prior.

`./run bench family --write` writes this table.

{table}
"""
HEAD = """| recipe | -log p(x), nats | -ELBO | distortion | rate | active units | epochs | samples |
|---|---|---|---|---|---|---|---|"""


def epochs_within(seconds: float, name: str, data: Any) -> int:
    """How many epochs of a recipe fit the budget, from a few timed steps."""
    import torch

    from unveil.recipes import recipe
    from unveil.training.loop import Trainer
    from unveil.training.precision import resolve

    chosen = recipe(name)
    torch.manual_seed(0)
    seen = chosen.prepare(data)
    model, objective = chosen.compose(seen)
    training = replace(chosen.training, epochs=1, validate_every=1)
    trainer = Trainer(model, objective, seen, training, resolve("auto", torch.device("cpu")))
    trainer.step.train()
    trainer.prepare()
    for _ in range(PILOT):
        trainer.advance()
    start = perf_counter()
    for _ in range(4 * PILOT):
        trainer.advance()
    step = (perf_counter() - start) / (4 * PILOT)
    start = perf_counter()
    trainer._validate()
    look = (perf_counter() - start) if chosen.training.validate_every else 0.0
    return max(1, int(seconds / (step * trainer.feed.steps_per_epoch + look)))


def measure(name: str, folder: Path, seconds: float, data_dir: str | None) -> None:
    """Train, evaluate, count active units and draw the strip of one recipe."""
    import unveil
    from unveil import album, generation
    from unveil.recipes import recipe

    measures = recipe(name).measures
    data = unveil.load("mnist", data_dir=data_dir, measure="binary" if "binary" in measures else "unit")
    epochs = epochs_within(seconds, name, data)
    start = perf_counter()
    run = unveil.train(data, recipe=name, out=folder, epochs=epochs)
    lasted = perf_counter() - start
    assert run.data is not None
    test = run.data.test.sample(IMAGES, 0)
    means = generation.encode(run.model, test).mean.flatten(1)
    active = int((means.var(0) > ACTIVE).sum())
    nats = run.evaluate(samples=DRAWS, images=IMAGES).nats
    shown = run
    if nats.rate is None:  # no prior was fitted along the way
        from unveil.refit import refit_prior

        shown = refit_prior(run, "mixture", out=folder.with_name(f"{name}-prior"), epochs=3)
    strip = shown.model.sample(10, shown.context(None, 10), seed=0, mean=True)
    album.samples(strip, folder / "strip.png", columns=10, ink=True)
    facts = {"recipe": name, "epochs": epochs, "seconds": lasted, "active": active, "of": means.shape[1]}
    (folder / "family.json").write_text(json.dumps({**facts, "nats": nats.as_dict()}))


def row(folder: Path) -> str:
    """A line of the table."""
    facts = json.loads((folder / "family.json").read_text())
    nats = facts["nats"]

    def figure(name: str) -> str:
        found = nats[name]
        return "none" if found is None else f"{found['value']:.2f} ± {found['stderr']:.2f}"

    cells = [f"`{facts['recipe']}`", *map(figure, ("nll", "neg_elbo", "distortion", "rate"))]
    cells += [f"{facts['active']} of {facts['of']}", f"{facts['epochs']} in {facts['seconds']:.0f} s"]
    return f"| {' | '.join(cells)} | ![samples](family/{facts['recipe']}.png) |"


def main() -> None:
    """Measure every recipe and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data-dir")
    parser.add_argument("--write", action="store_true", help="put table and strips into docs/")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.recipes[0], given.one, given.seconds, given.data_dir)
        return
    from unveil.recipes import RECIPES

    names = given.recipes or [name for name in RECIPES if name not in ELSEWHERE]
    runs = given.runs or Path(tempfile.mkdtemp(prefix="unveil-family-"))
    lines, failed = [HEAD], []
    print(f"runs in {runs}\n{HEAD}", flush=True)
    for name in names:
        folder = runs / name
        if not (folder / "family.json").exists():
            command = [sys.executable, str(Path(__file__).resolve()), name, "--one", str(folder)]
            command += ["--seconds", str(given.seconds), *(["--data-dir", given.data_dir] if given.data_dir else [])]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                failed.append(name)
                print(f"{name} failed: {(done.stderr.splitlines() or ['?'])[-1]}", flush=True)
                continue
        lines.append(row(folder))
        print(lines[-1], flush=True)
    if given.write and not failed:
        STRIPS.mkdir(exist_ok=True)
        for name in names:
            (STRIPS / f"{name}.png").write_bytes((runs / name / "strip.png").read_bytes())
        PAGE.write_text(PAGE_TEXT.format(table="\n".join(lines)), encoding="utf-8")
    if failed:
        sys.exit(f"these recipes failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
