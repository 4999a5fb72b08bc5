"""What one of two processes does in tests of state that is cut between them: `python sharding.py WHAT OUT`."""

import json
import os
import shutil
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import torch

import unveil
from helpers import ranks
from unveil.store import RunFolder, pieces
from unveil.training import Training
from unveil.training.loop import Trainer
from unveil.training.ranks import join

COMPOSITIONS = ("vae", "vq-vae", "factor-vae", "all that couple")
HOWS = (("float32", 100.0), ("float64", 100.0), ("float32", 0.05))
"""In which precision, and at which length gradients are cut: none, or all."""
SETTINGS = {"epochs": 3, "checkpoint_every": 1, "threads": 1, "latent": 2, "batch_size": 200, "precision": "float32"}


def trained(team, shard, clip):
    """Everything that each of 20 steps of several models comes to: bits of the state put together, and figures."""
    found = {}
    real = unveil.data.from_arrays(torch.randn(400, 5, generator=unveil.randomness.generator("rows")), name="rows")
    for name, data, model, objective in ranks.compositions(unveil.load("digits"), real):
        if name not in COMPOSITIONS:
            continue
        kind = torch.get_default_dtype()
        config = Training(batch_size=ranks.BATCH, seed=1, shard=shard, clip=clip, nonfinite="roll-back")
        trainer = Trainer(model.to(kind), objective.to(kind), data, config, "float32", team=team)
        trainer.step.train()
        trainer.state.share(team)
        trainer.prepare()
        state, flat = trainer.state, trainer.state.flat
        for step in range(ranks.STEPS):
            if step == 5:
                state.remember()
            if step == 7:
                state.go_back()
            trainer.advance()
        state.consider(1.0)
        vectors = state.average.values, state.best["values"], *(state.optimiser.tensors()[n] for n in ("first", "second"))
        assert flat.cut.whole != shard
        assert all(len(vector) == len(flat.values[flat.cut.mine]) for vector in vectors)
        whole = [flat.values.clone(), *(flat.whole(vector).clone() for vector in vectors)]
        state.compare(team)
        rows = state.tally.rows[: ranks.STEPS].double().nan_to_num().flatten().tolist()
        found[name] = [[vector.tolist() for vector in whole], rows]
    return found


def steps(out):
    """How far the sharded state is from that of whole ones after 20 steps, relative to the largest number, by kind."""
    team, found = join(60.0), {}
    for kind, clip in HOWS:
        with ranks.precise() if kind == "float64" else nullcontext():
            whole, cut = trained(team, False, clip), trained(team, True, clip)
        found[f"{kind} {clip:g}"] = {name: apart(whole[name], cut[name]) for name in whole}
    Path(f"{out}.{team.rank}").write_text(json.dumps(found))


def apart(one, other):
    vectors = [(torch.tensor(a).double(), torch.tensor(b).double()) for a, b in zip(one[0], other[0], strict=True)]
    vectors.append((torch.tensor(one[1]).double(), torch.tensor(other[1]).double()))
    assert all((a != 0).any() for a, _ in vectors)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in vectors)


def runs(out):
    """Runs of 3 epochs: not sharded, sharded, and either resumed as the other and as itself from after the second."""
    out = Path(out)
    team = join(60.0)
    for shard, name in ((False, "whole"), (True, "cut")):
        unveil.train("digits", "vae", out=out / name, shard=shard, **SETTINGS)
    if team.rank == 0:
        for source, name in (("whole", "whole-then-cut"), ("cut", "cut-then-whole"), ("cut", "cut-then-cut")):
            until_two(out / source, out / name)
        # its last piece is damaged, so that all go back to the one before
        last = RunFolder(out / "cut-then-cut").checkpoints()[-1]
        path = out / "cut-then-cut" / "checkpoints" / str(last) / pieces.name_of(1, 2)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    for shard, name in ((True, "whole-then-cut"), (False, "cut-then-whole"), (True, "cut-then-cut")):
        team.tell()
        unveil.train("digits", "vae", out=out / name, shard=shard, resume=True, **SETTINGS)


def until_two(source, target):
    """A copy of a run of 3 epochs as it was after 2; its last checkpoint stays where it is to be damaged."""
    shutil.copytree(source, target)
    if target.name != "cut-then-cut":
        shutil.rmtree(target / "checkpoints" / str(RunFolder(target).checkpoints()[-1]))


def killed(out):
    """A run whose second rank is killed in the middle of its third save."""
    team, saved = join(60.0), 0
    write = pieces.write

    def dying(place, state, planned, rank):
        nonlocal saved
        saved += 1
        if saved == 3 and rank == 1:
            (place / f".{pieces.name_of(rank, 2)}.tmp").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return write(place, state, planned, rank)

    pieces.write = dying
    try:
        unveil.train("digits", "vae", out=out, shard=True, **SETTINGS)
    except unveil.errors.UnveilError as error:
        print(error)
        team.leave()
        sys.exit(2)


def run(out):
    """A sharded run that goes on."""
    unveil.train("digits", "vae", out=out, shard=True, resume=True, **SETTINGS)


if __name__ == "__main__":
    {"steps": steps, "runs": runs, "killed": killed, "run": run}[sys.argv[1]](sys.argv[2])
