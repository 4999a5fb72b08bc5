"""What one of several processes does in tests of training together: `python tests/helpers/ranks.py OUT TURNS`.

Rank and number of processes come from the environment, as torchrun sets them. Rank 0 writes what it found to OUT.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

import unveil
from unveil.data import from_arrays
from unveil.errors import UnveilError
from unveil.models import VAE
from unveil.networks import Mlp
from unveil.objectives import DimensionRate, DipII, Distortion, Mmd, MutualInformation, Rate, Rbf, TotalCorrelation
from unveil.parts import Gaussian, Net, OptimalSigma, Standard
from unveil.randomness import generator, reseed
from unveil.recipes import RECIPES
from unveil.training import Training
from unveil.training.loop import Trainer, fit
from unveil.training.ranks import join

RECIPES_TRIED = (
    *("vae", "geco-vae", "vq-vae", "factor-vae", "aae"),
    *("beta-tc-vae", "dip-vae", "wae-mmd", "free-bits-vae", "disentangled-beta-vae"),
)
STEPS = 20
BATCH = 21
"""Odd, so that two microbatches are not alike."""


def pair(arguments, **more):
    """Two processes started together, on a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(arguments, env={**os.environ, **where, "RANK": rank, "LOCAL_RANK": rank, **more}, **streams)
        for rank in ("0", "1")
    ]


@contextmanager
def precise():
    """Within, what is float32 elsewhere is float64."""
    single, fused = torch.Tensor.float, torch._fused_adam_

    def adam(*tensors, grad_scale, found_inf, **more):
        fused(*tensors, grad_scale=grad_scale.to(torch.float32), found_inf=found_inf.to(torch.float32), **more)

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float, torch._fused_adam_ = torch.Tensor.double, adam
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float, torch._fused_adam_ = single, fused


class Normalising(nn.Module):
    """A network with a layer that moves its buffers in a forward pass."""

    def __init__(self, inside):
        super().__init__()
        self.inside, self.norm = inside, nn.BatchNorm1d(5)

    def forward(self, x, context=None):
        return self.inside(self.norm(x))


def own(data):
    """Compositions that no recipe has."""
    decoder = Net(Mlp((4,), (16,), data.space.shape, "silu"), OptimalSigma(1))
    model = VAE(Standard(4), Net(Normalising(Mlp(data.space.shape, (16,), (8,), "silu")), Gaussian(4)), decoder)
    parts = MutualInformation() + TotalCorrelation() + DimensionRate()
    yield "all that couple", model, Distortion() + Rate() + parts + 3 * Mmd(Rbf()) + DipII()


def compositions(digits, real):
    """Name, data, model and objective."""
    for name in RECIPES_TRIED:
        recipe = RECIPES[name].given(hidden=(16,), latent=4)
        data = recipe.prepare(digits)
        reseed(0, "initialise")
        yield name, data, *recipe.compose(data)
    reseed(0, "initialise")
    for name, model, objective in own(real):
        yield name, real, model, objective


def curves(team, turns):
    """The figures of each of 20 steps, and what the weights come to, by composition."""
    found = {}
    real = from_arrays(torch.randn(400, 5, generator=generator("rows")), name="rows")
    for name, data, model, objective in compositions(unveil.load("digits"), real):
        kind = torch.get_default_dtype()
        config = Training(batch_size=BATCH, accumulate=turns, seed=1)
        trainer = Trainer(model.to(kind), objective.to(kind), data, config, "float32", team=team)
        trainer.step.train()
        trainer.prepare()
        for _ in range(STEPS):
            trainer.advance()
        trainer.state.compare(team)
        state = [trainer.state.flat.values, *(b for b in trainer.state.buffers.values() if b.is_floating_point())]
        sums = [float(tensor.double().square().sum()) for tensor in state]
        found[name] = [*trainer.state.tally.rows[:STEPS].double().nan_to_num().flatten().tolist(), *sums]
    return found


class Interrupting:
    """A monitor that has this process asked to end, after some steps."""

    def __init__(self, after):
        self.after = after

    def begin(self, watched):
        pass

    def step(self, step):
        if step == self.after:
            signal.raise_signal(signal.SIGTERM)

    def epoch(self, record):
        pass


def stopping(team):
    """After how many steps each rank stopped, when the last was asked to after 5, and by what."""
    data = unveil.load("digits")
    recipe = RECIPES["vae"].given(hidden=(16,), latent=2)
    torch.manual_seed(team.rank)  # other weights on each rank, until rank 0 gives its own
    config = Training(epochs=2, batch_size=100, average=0.5)
    watched = Interrupting(5) if team.rank == team.size - 1 else None
    model, objective = recipe.compose(data)
    outcome = fit(model, objective, data, config, "float32", monitor=watched, team=team)
    weights = float(sum(weight.square().sum() for weight in model.parameters()))
    return [outcome.steps, outcome.stopped_by, outcome.finished, outcome.best_value, weights]


def drifted(team, rank):
    """What is said at the end of an epoch in which the weights of `rank` went a way of their own."""
    data = unveil.load("digits")
    model, objective = RECIPES["vae"].given(hidden=(16,), latent=2).compose(data)
    state = Trainer(model, objective, data, Training(), "float32", team=team).state
    state.share(team)
    if team.rank == rank:
        state.average.values[3] += 1e-7
    return refused(lambda: state.compare(team))


def refused(work):
    """What an error says."""
    try:
        work()
    except UnveilError as error:
        return str(error)
    return ""


def main(out, turns):
    team = join(60.0)
    found = {"float32": curves(team, turns)}
    with precise():
        found["float64"] = curves(team, turns)
    if team.size > 1:
        found["stopping"] = stopping(team)
        found["unlike"] = refused(lambda: team.agree({"seed": "0", "the data": f"number {team.rank}"}))
        numbers = torch.tensor([7, team.rank, -(2**40)])
        found["alike"] = team.alike(numbers)
        found["drifted"] = [drifted(team, rank) for rank in (1, team.size)]
        found["told"] = team.tell({"from": team.rank})
    Path(f"{out}.{team.rank}").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
