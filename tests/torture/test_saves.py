"""Every write, flush and rename of a training, interrupted in turn: the disk fails there, or the machine dies."""

import os
import signal
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from helpers.faults import die, faults, full
from helpers.runs import linear_model, real_data

import unveil
from unveil.errors import RunError
from unveil.store import RunFolder
from unveil.store.files import litter

EACH = 1 if "UNVEIL_KILLS" in os.environ else 3
"""How many are passed over to the next, in `./run test`; `./run torture` takes each."""
SETTINGS = {"epochs": 3, "batch_size": 40, "checkpoint_every": 1, "precision": "float32"}


def trained(out, resume=False):
    """With a step that is lost, so that events are written too."""
    data = real_data()
    data.train.values[7] = torch.nan
    model, objective = linear_model()
    return unveil.train(data, model=model, objective=objective, out=out, resume=resume, **SETTINGS)


def content(path):
    """All that a run leaves but for clocks."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "timing.jsonl"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training leaves that nothing happened to, and what it asked of the disk on the way."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with faults(0, full) as asked:
        trained(path)
    return content(path), asked


def checkpoints_are_whole(path):
    """Each that is there can be read; of those that were complete before, none is lost."""
    folder = RunFolder(path)
    steps = folder.checkpoints()
    for step in steps:
        folder.checkpoint(step)
    return steps


def test_a_disk_that_fails_anywhere_costs_nothing_but_what_was_not_saved(whole, tmp_path, found):
    expected, asked = whole
    places, left = range(1, len(asked) + 1, EACH), set()
    for at in places:
        path = tmp_path / f"full-{at}"
        # what to do follows; old checkpoints that cannot be removed are removed another time
        refused = pytest.raises(RunError, match=r"cannot be .*; ") if asked[at - 1] != "rmtree" else nullcontext()
        with faults(at, full), refused:
            trained(path)
        left.add(tuple(checkpoints_are_whole(path)))
        assert not litter(path)
        assert not litter(path / "checkpoints")
        trained(path, resume=True)
        assert content(path) == expected
    assert left >= {(), (4,), (4, 8), (8, 12)}  # whatever was saved before the fault is there
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(asked[at - 1] for at in places).items())
    found(
        "the disk fails at each write, flush, rename of a training in turn",
        f"{len(places)} times ({kinds}); each time the last checkpoint could be read, no temporary file stayed, and the "
        "resumed run ended with the same bytes",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_machine_that_dies_anywhere_costs_nothing_but_what_was_not_saved(whole, tmp_path, found):
    expected, asked = whole
    places = range(1, len(asked) + 1, EACH)
    for at in places:
        path = tmp_path / f"dead-{at}"
        child = os.fork()
        if child == 0:
            with faults(at, die):
                trained(path)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        checkpoints_are_whole(path)
        trained(path, resume=True)
        assert content(path) == expected
    found(
        "SIGKILL before each write, flush, rename of a training in turn",
        f"{len(places)} times; each time the resumed run ended with the same bytes",
    )
