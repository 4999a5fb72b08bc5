"""What was saved is whole, comes back as it was, and executes nothing."""

import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from unveil.errors import RunError, SettingError
from unveil.networks import ConvDecoder, ConvEncoder, Mlp
from unveil.objectives import Distortion, Iwae, Rate, Warmup
from unveil.opening import KNOWN
from unveil.parts import Bernoulli, CrossEntropy, Gaussian, Isotropic, Net, Standard
from unveil.store import RunFolder, build, describe, fill, free_path
from unveil.store.files import write
from unveil.store.tensors import KINDS, digest, load, save
from unveil.training.average import state_of

PARTS = [
    Mlp((1, 4, 4), (8, 6), (3,), "gated"),
    ConvEncoder((1, 7, 5), (4, 8), (6,)),
    ConvDecoder((3,), (8, 4), (1, 7, 5)),
    Standard(3),
    Net(Mlp((4,), (5,), (6,)), Gaussian(3)),
    Isotropic(1, 0.5, learned=False),
    CrossEntropy(3),
    Distortion() + Warmup(4 * Rate(), 2.0),
    Iwae(5),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_every_part_comes_back_from_its_spec_and_tensors(part):
    spec = json.loads(json.dumps(describe(part=part)))
    again = build(spec, KNOWN)["part"]
    assert all(tensor.is_meta for tensor in state_of(again).values())
    fill(again, state_of(part), "here")
    assert describe(part=again) == describe(part=part)
    theirs = state_of(part)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in state_of(again).items())


def test_a_shared_part_is_saved_once_and_stays_shared():
    shared = Mlp((2,), (), (4,))
    pair = nn.ModuleDict({"a": Net(shared, Gaussian(2)), "b": Net(shared, Gaussian(2))})
    spec = describe(a=pair["a"], b=pair["b"])
    assert sum(part["type"] == "Mlp" for part in spec["parts"]) == 1
    again = build(spec, KNOWN)
    assert again["a"].network is again["b"].network
    both = nn.ModuleDict(again)
    fill(both, state_of(pair), "here")
    assert again["a"].network is again["b"].network
    assert torch.equal(again["a"].network.last.weight, shared.last.weight)


class Mine(nn.Module):
    """A user's own network."""

    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.layer = nn.Linear(2, width)


class Keeper(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.given = given


class Forgetful(nn.Module):
    def __init__(self, width):
        super().__init__()


def test_a_tensor_of_two_names_in_one_part_comes_back_under_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("one", torch.arange(3.0))
            self.register_buffer("other", self.one)
            self.first = nn.Parameter(torch.ones(2))
            self.second = self.first

    with torch.device("meta"):
        made = Twice()
    fill(made, {"one": torch.full((3,), 5.0), "first": torch.full((2,), 7.0)}, "here")
    assert made.one is made.other
    assert made.first is made.second
    assert made.other.tolist() == [5.0] * 3
    assert made.second.tolist() == [7.0] * 2


def test_a_users_own_part_is_built_only_when_handed_over():
    spec = describe(part=Mine(5))
    with pytest.raises(RunError, match="parts="):
        build(spec, KNOWN)
    assert build(spec, {**KNOWN, "Mine": Mine})["part"].width == 5


def test_parts_that_cannot_be_saved_say_why():
    with pytest.raises(SettingError, match=r"self\.width = width"):
        describe(part=Forgetful(3))
    with pytest.raises(SettingError, match="wrap it in a module"):
        describe(part=nn.GRU(2, 2))
    with pytest.raises(SettingError, match="Tensor, which cannot be saved"):
        describe(part=Keeper(torch.zeros(2)))


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        {"parts": []},
        {"parts": [{"type": "Net", "arguments": {"network": {"part": 0}, "head": None}}], "roots": {}},
        {"parts": [{"type": "Standard", "arguments": {"event_shape": [-1]}}], "roots": {"a": 0}},
        {"parts": [{"type": "Standard", "arguments": {"event_shape": "os.system"}}], "roots": {"a": 0}},
        {"parts": [{"type": "Standard", "arguments": {"nonsense": 3}}], "roots": {"a": 0}},
        {"parts": [{"type": "os.system", "arguments": {"command": "true"}}], "roots": {"a": 0}},
        {"parts": [{"type": "Standard", "arguments": {"event_shape": 2}}], "roots": {"a": 1}},
        {"parts": [{"type": "Standard", "arguments": {"event_shape": 2}}], "roots": {"a": True}},
    ],
)
def test_hostile_specs_are_refused(spec):
    with pytest.raises(RunError):
        build(spec, KNOWN)


def test_an_absurdly_large_spec_takes_no_memory():
    spec = describe(part=Mlp((2,), (3,), (2,)))
    spec["parts"][0]["arguments"]["hidden"] = [10**6, 10**6]  # 4 TB of weights
    huge = build(spec, KNOWN)["part"]
    with pytest.raises(RunError, match="does not fit the spec"):
        fill(huge, state_of(Mlp((2,), (3,), (2,))), "here")


def test_files_that_do_not_fit_are_refused_by_name():
    again = build(describe(part=Mlp((2,), (3,), (2,))), KNOWN)["part"]
    with pytest.raises(RunError, match=r"last\.weight"):
        fill(again, state_of(Mlp((2,), (4,), (2,))), "here")


def test_a_flipped_bit_or_a_missing_byte_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    digest = save(path, {"a": torch.arange(10.0)})
    assert torch.equal(load(path, digest)["a"], torch.arange(10.0))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="damaged"):
            load(path, digest)
    path.write_bytes(whole[:-1])
    with pytest.raises(RunError, match="damaged"):
        load(path, digest)


def test_files_are_byte_for_byte_what_the_library_writes(tmp_path):
    made = {
        f"{kind}/é{n}".removeprefix("torch."): (100 * torch.rand(shape)).to(kind)
        for kind in KINDS
        for n, shape in enumerate([(), (3,), (2, 0), (2, 3, 5)])
    }
    made["transposed"] = torch.randn(3, 4).T
    assert save(tmp_path / "x.safetensors", made) == digest(made)
    theirs = safetensors.torch.save({name: tensor.contiguous() for name, tensor in made.items()})
    assert (tmp_path / "x.safetensors").read_bytes() == theirs
    again = load(tmp_path / "x.safetensors", digest(made))
    assert all(torch.equal(again[name], tensor) for name, tensor in made.items())


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(call, tmp_path, monkeypatch):
    path = tmp_path / "x"
    write(path, b"old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (type(path), "replace")), fail)
    with pytest.raises(RunError, match="No space left"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_run_folders_are_taken_once_and_newer_formats_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(resume=False)
    with pytest.raises(RunError, match="--resume"):
        folder.create(resume=False)
    folder.create(resume=True)
    with pytest.raises(RunError, match="is no run folder"):
        folder.manifest()
    content = {"spec": {}, "data": {}, "tensors": {}}
    folder.write_manifest(content)
    assert folder.manifest() == {"format": 1, **content}
    (folder.path / "run.json").write_text('{"format": 7}')
    with pytest.raises(RunError, match="format 7, and this version reads up to 1"):
        folder.manifest()
    (folder.path / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        folder.manifest()
    assert free_path(folder.path).name == "run-2"


def test_what_is_no_run_folder_is_neither_begun_nor_gone_on_with(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("of years")
    (tmp_path / "file").write_text("")
    for name in ("theirs", "file"):
        with pytest.raises(RunError, match=f"{name} exists and is no run folder; name another --out"):
            RunFolder(tmp_path / name).create(resume=False)
        with pytest.raises(RunError, match=f"{name} is no run folder, so that nothing can be resumed there"):
            RunFolder(tmp_path / name).create(resume=True)
    (tmp_path / "theirs" / "checkpoints").mkdir()  # as a run has them whose run.json was lost
    RunFolder(tmp_path / "theirs").create(resume=True)


def test_a_second_process_is_refused_and_a_dead_ones_lock_cleared(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(RunError, match=f"in use by process {os.getpid()}"), folder.locked():
        pass
    assert not (tmp_path / "lock").exists()
    # what a dead owner left behind refuses nobody, whatever it says
    (tmp_path / "lock").write_text(json.dumps({"process": os.getpid(), "host": "elsewhere"}))
    with folder.locked():
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()


def test_a_lock_is_let_go_when_its_owner_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from unveil.store import lock\n"
        "with lock.held(Path(sys.argv[1]) / 'lock'): print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"in use by process {owner.pid}"), RunFolder(tmp_path).locked():
        pass
    owner.kill()
    owner.wait()
    with RunFolder(tmp_path).locked():
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


def test_two_checkpoints_are_kept(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (5, 10, 100):
        folder.save_checkpoint(step, {"a": torch.full((2,), float(step))}, {"best": None})
    assert folder.checkpoints() == [10, 100]
    state, facts = folder.checkpoint(100)
    assert state["a"].tolist() == [100.0, 100.0]
    assert facts["step"] == 100


def test_a_torn_first_event_is_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "events.jsonl").write_text('{"step": 3, "th')
    folder.rewind(3, 0)
    folder.append("events.jsonl", {"step": 3})
    assert folder.lines("events.jsonl") == [{"step": 3}]


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(RunError, match="give fewer or shorter names"):
        RunFolder(tmp_path).write_manifest({"names": "x" * 2**24})
    assert not list(tmp_path.iterdir())


def test_lines_after_a_checkpoint_are_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (5, 10, 15):
        folder.append("metrics.jsonl", {"step": step})
    folder.rewind(10)
    assert [record["step"] for record in folder.lines("metrics.jsonl")] == [5, 10]


def test_the_known_parts_are_those_that_the_packages_offer():
    assert {"VAE", "Mlp", "Gaussian", "Sum", "Warmup", "Centred"} <= set(KNOWN)
    assert KNOWN["Bernoulli"] is Bernoulli
