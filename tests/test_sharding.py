"""Moments and averages that are cut between processes: the same training, whatever the checkpoints were written by."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import ranks, sharding

import unveil
from unveil.errors import RunError
from unveil.store import RunFolder, files, pieces
from unveil.training import Training
from unveil.training.cut import ALIGNED, Cut
from unveil.training.footprint import SLICED, START, WHOLE, state_bytes
from unveil.training.team import Team

HELPER = Path(sharding.__file__)
NEAR = 1e-4
"""Of numbers in single precision, where the length of the gradient was another sum."""


def both(what, out, codes=(0, 0)):
    """Two processes that do WHAT; what each said."""
    paths = os.pathsep.join([str(HELPER.parent.parent), os.environ.get("PYTHONPATH", "")])
    pair = ranks.pair([sys.executable, str(HELPER), what, str(out)], PYTHONPATH=paths)
    said = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == list(codes), said
    return said


def fake(rank, size):
    """A team that only says who one is."""
    team = Team()
    team.rank, team.size = rank, size
    return team


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 12345])
@pytest.mark.parametrize("ranks_", [1, 2, 3, 7])
def test_slices_are_the_whole_without_overlap(size, ranks_):
    cuts = [Cut(size, fake(rank, ranks_), True) for rank in range(ranks_)]
    assert torch.equal(torch.cat([torch.arange(size)[cut.mine] for cut in cuts]), torch.arange(size))
    assert all(cut.mine.start % ALIGNED == 0 or cut.mine.start == size for cut in cuts)
    assert all(cut.slices[cut.team.rank] == cut.mine for cut in cuts)


def test_the_forecast_counts_slices():
    for nonfinite, more in (("skip", 0), ("roll-back", START)):
        config = Training(shard=True, nonfinite=nonfinite)
        assert state_bytes(1000, config, 4) == 4 * (1000 * WHOLE + 250 * (SLICED + more))
        assert state_bytes(1000, config) == state_bytes(1000, Training(nonfinite=nonfinite), 4)


def test_twenty_steps_are_those_of_whole_state(tmp_path):
    both("steps", tmp_path / "found")
    found = [json.loads((tmp_path / f"found.{rank}").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    whole, whole_64, clipped = (found[0][f"{kind} {clip:g}"] for kind, clip in sharding.HOWS)
    assert set(whole) == set(whole_64) == set(clipped) == set(sharding.COMPOSITIONS)
    assert set(whole.values()) == set(whole_64.values()) == {0.0}  # a sum of two is the same in either order
    assert 0.0 < max(clipped.values()) < NEAR


# checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run folders that two processes made."""
    out = tmp_path_factory.mktemp("sharding")
    both("runs", out)
    return out


def ends_of(path):
    """What must be the same to the byte, and the last state."""
    folder = RunFolder(path)
    state, facts = folder.checkpoint(folder.checkpoints()[-1])
    same = {name: (path / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}
    kept = {name: value for name, value in facts.items() if name not in ("tensors", "ends")}
    return same, kept, {name: tensor.nan_to_num().tolist() for name, tensor in state.items()}


@pytest.mark.parametrize("name", ["cut", "whole-then-cut", "cut-then-whole", "cut-then-cut"])
def test_runs_end_alike_to_the_bit(trained, name):
    assert ends_of(trained / name) == ends_of(trained / "whole")


def test_one_process_goes_on_from_slices_to_the_same_end(trained, tmp_path):
    sharding.until_two(trained / "cut", tmp_path / "one")
    unveil.train("digits", "vae", out=tmp_path / "one", resume=True, accumulate=2, **sharding.SETTINGS)
    one, _, state = ends_of(tmp_path / "one")
    whole, _, theirs = ends_of(trained / "whole")
    assert one["metrics.jsonl"] == whole["metrics.jsonl"]
    assert one["model.safetensors"] == whole["model.safetensors"]
    assert state == theirs


def test_each_rank_has_its_file_and_no_more_than_its_slice(trained):
    folder = RunFolder(trained / "cut")
    step = folder.checkpoints()[-1]
    place = trained / "cut" / "checkpoints" / str(step)
    assert sorted(path.name for path in place.iterdir()) == [pieces.name_of(0, 2), pieces.name_of(1, 2), pieces.INDEX]
    whole, facts = folder.checkpoint(step)
    assert {*pieces.VECTORS} - set(whole) == {name for name in pieces.VECTORS if name.startswith("start/")}
    size = facts["ends"][-1]
    assert all(len(whole[name]) == size for name in pieces.VECTORS & set(whole))
    for parts in (1, 2, 3, 5):  # read by another number of ranks
        cuts = [Cut(size, fake(rank, parts), True).mine for rank in range(parts)]
        read = [folder.checkpoint(step, mine=mine)[0] for mine in cuts]
        for name, tensor in whole.items():
            if name in pieces.VECTORS:
                assert torch.equal(torch.cat([one[name] for one in read]), tensor), name
            else:
                assert all(torch.equal(one[name].nan_to_num(), tensor.nan_to_num()) for one in read), name


def test_no_more_files_are_read_than_hold_the_slice_and_the_rest_of_the_state(trained, tmp_path):
    step = RunFolder(trained / "cut").checkpoints()[-1]
    place = tmp_path / "place"
    shutil.copytree(trained / "cut" / "checkpoints" / str(step), place)
    first, second = files.read_signed(place / pieces.INDEX)["ends"]
    whole, _ = pieces.read(place, None, None)
    (place / pieces.name_of(1, 2)).unlink()
    for mine in (slice(0, first), slice(3, 7)):
        found, _ = pieces.read(place, None, mine)
        assert torch.equal(found["weights/values"], whole["weights/values"][mine])
    with pytest.raises(RunError):
        pieces.read(place, None, slice(first, second))


def test_an_unfinished_run_opens_with_the_weights_in_all_its_pieces(trained, tmp_path, caplog):
    shutil.copytree(trained / "cut", tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    said = files.read_json(tmp_path / "run" / "run.json")
    files.write_json(tmp_path / "run" / "run.json", {**said, "status": "training", "tensors": {}})
    state, whole = (unveil.open(path).model.state_dict() for path in (tmp_path / "run", trained / "cut"))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in state.items())
    assert "go on with --resume" in caplog.text


def test_a_rank_killed_in_the_middle_of_a_save_leaves_the_checkpoint_before(trained, tmp_path):
    (said, _), _ = both("killed", tmp_path / "run", codes=(2, -9))
    assert said.startswith("rank 1 (process ")
    folder = RunFolder(tmp_path / "run")
    assert len(folder.checkpoints()) == 2
    for step in folder.checkpoints():
        folder.checkpoint(step)
    both("run", tmp_path / "run")
    assert ends_of(tmp_path / "run") == ends_of(trained / "whole")


# what others may have written


def altered(place, **changed):
    said = files.read_signed(place / pieces.INDEX)
    files.write_signed(place / pieces.INDEX, {**said, **changed})


def files_of(*names):
    return dict.fromkeys(names, "0" * 64)


def swapped(place):
    one, two = (place / pieces.name_of(rank, 2) for rank in (0, 1))
    tensors = files.read_signed(place / pieces.INDEX)["tensors"]
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    altered(place, tensors={one.name: tensors[two.name], two.name: tensors[one.name]})


def flipped(place):
    path = place / pieces.name_of(1, 2)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


ATTACKS = {
    "no list": (lambda place: altered(place, ends={"0": 1}), "does not say where its pieces end"),
    "no pieces": (lambda place: altered(place, ends=[]), "does not say where its pieces end"),
    "very many": (lambda place: altered(place, ends=[1] * 10**6), "does not say where its pieces end"),
    "words": (lambda place: altered(place, ends=["1", "2"]), "does not say where its pieces end"),
    "truths": (lambda place: altered(place, ends=[True, True]), "does not say where its pieces end"),
    "backwards": (lambda place: altered(place, ends=[64, 0]), "its pieces overlap"),
    "below zero": (lambda place: altered(place, ends=[-64, 64]), "its pieces overlap"),
    "beyond": (lambda place: altered(place, ends=[64, 2**70]), "not that of its slice"),
    "a path": (lambda place: altered(place, tensors=files_of("../../../secret", pieces.name_of(1, 2))), "other files"),
    "one more": (lambda place: altered(place, ends=[64, 128, 192]), "states other files"),
    "no digest": (lambda place: altered(place, tensors=dict.fromkeys(files_of(*PAIR), 0)), "states other files"),
    "swapped": (swapped, "not that of its slice"),
    "a bit": (flipped, "its SHA-256 is not the one"),
    "gone": (lambda place: (place / pieces.name_of(1, 2)).unlink(), "cannot be read"),
}
PAIR = pieces.name_of(0, 2), pieces.name_of(1, 2)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_index_that_lies_is_refused(trained, tmp_path, name):
    attack, said = ATTACKS[name]
    shutil.copytree(trained / "cut", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    step = folder.checkpoints()[-1]
    attack(tmp_path / "run" / "checkpoints" / str(step))
    with pytest.raises(RunError, match=said):
        folder.checkpoint(step)


def test_what_is_larger_than_the_model_is_not_read(trained):
    folder = RunFolder(trained / "cut")
    with pytest.raises(RunError, match="and the model 1,000"):
        folder.checkpoint(folder.checkpoints()[-1], 1000)


def test_a_process_by_itself_has_nothing_to_shard(tiny, tmp_path):
    run = unveil.train(tiny, "vae", out=tmp_path / "run", epochs=1, latent=2, shard=True)
    place = run.path / "checkpoints" / str(RunFolder(run.path).checkpoints()[-1])
    assert sorted(path.name for path in place.iterdir()) == [pieces.INDEX, pieces.STATE]
