"""Bytes that change: of a checkpoint each is noticed; of whatever else is read, nothing but our own errors comes."""

import hashlib
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
from helpers.runs import linear_model, real_data

import unveil
from unveil.data import idx
from unveil.errors import DataError, RunError, UnveilError
from unveil.store import RunFolder

FLIPS, CUTS = 1000, 200
MUTATIONS = int(os.environ.get("UNVEIL_MUTATIONS", "300"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "run"
    model, objective = linear_model()
    settings = {"epochs": 2, "batch_size": 40, "checkpoint_every": 1}
    return unveil.train(real_data(), model=model, objective=objective, out=path, **settings).path


def flipped(content, source):
    place = source.randrange(8 * len(content))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def cut(content, source):
    return content[: source.randrange(len(content))]


def mutated(content, source):
    """One to eight bytes changed, removed or doubled, or a stretch of noise put in."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 8)):
        place = source.randrange(len(changed) or 1)
        match source.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                del changed[place : place + source.randint(1, 16)]
            case 2:
                changed[place:place] = changed[place : place + source.randint(1, 16)]
            case 3:
                changed[place:place] = source.randbytes(source.randint(1, 16))
    return bytes(changed)


def test_every_flipped_bit_and_every_missing_byte_of_a_checkpoint_is_noticed(run, tmp_path, found):
    folder, source = RunFolder(run), random.Random(0)
    step = max(folder.checkpoints())
    place = run / "checkpoints" / str(step)
    whole = {path: path.read_bytes() for path in place.iterdir()}
    sizes = [len(content) for content in whole.values()]
    for trial in range(FLIPS + CUTS):
        (path,) = source.choices(list(whole), [size**0.5 for size in sizes])  # the small file is met often too
        path.write_bytes((flipped if trial < FLIPS else cut)(whole[path], source))
        with pytest.raises(RunError, match="is damaged"):
            folder.checkpoint(step)
        path.write_bytes(whole[path])
    folder.checkpoint(step)
    found(
        "bits of a checkpoint flipped, one at a time; a checkpoint cut short",
        f"{FLIPS:,} flips and {CUTS} cuts in {sum(sizes):,} bytes, all noticed",
    )


def outcomes(content, look, source, count=MUTATIONS):
    """How many mutations of some bytes `look` refuses; any error but our own ends the test."""
    refused = 0
    for _ in range(count):
        try:
            look(mutated(content, source))
        except UnveilError:
            refused += 1
    return refused


def test_mutated_files_of_a_run_give_nothing_but_our_own_errors(run, tmp_path, found):
    """Whoever mutates a file of tensors may also write its digest anew, so that what is behind that check is met too."""
    source, counts = random.Random(1), {}
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    folder = RunFolder(copy)
    step = max(folder.checkpoints())
    manifest = folder.manifest()

    def open_with(name):
        def look(content):
            (copy / name).write_bytes(content)
            unveil.open(copy).metrics()
            folder.checkpoint(step)

        return look

    def resigned(content):
        path = copy / "model.safetensors"
        path.write_bytes(content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        folder.write_manifest({**manifest, "tensors": {"model.safetensors": digest}})
        unveil.open(copy)

    def tampered(content):
        path = copy / "checkpoints" / str(step) / "state.safetensors"
        path.write_bytes(content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        said = {"step": step, "tensors": {"state.safetensors": digest}}
        unveil.store.files.write_signed(path.with_name("state.json"), said)
        folder.checkpoint(step)

    for name, look in (
        ("run.json", open_with("run.json")),
        ("metrics.jsonl", open_with("metrics.jsonl")),
        (f"checkpoints/{step}/state.json", open_with(f"checkpoints/{step}/state.json")),
        ("model.safetensors", resigned),
        (f"checkpoints/{step}/state.safetensors", tampered),
    ):
        whole = (run / name).read_bytes()
        counts[name] = outcomes(whole, look, source)
        assert counts[name] > 0.2 * MUTATIONS
        shutil.rmtree(copy)
        shutil.copytree(run, copy)
    said = ", ".join(f"{count:,} of {name.split('/')[-1]}" for name, count in counts.items())
    found(
        "mutated files of a run, those of tensors with a digest written anew",
        f"{MUTATIONS:,} of each; refused {said}; no foreign error",
    )


def test_mutated_arrays_give_nothing_but_our_own_errors(tmp_path, found):
    source, counts = random.Random(2), {}
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
    counts["IDX"] = outcomes(head + images.tobytes(), lambda content: idx.parse(content, "it", 3), source)
    for ending, save in ((".npy", np.save), (".npz", lambda path, x: np.savez_compressed(path, x=x, y=x[:, 0, 0] % 3))):
        path = tmp_path / f"x{ending}"
        save(path, images)

        def look(content, path=path):
            path.write_bytes(content)
            unveil.load(str(path))

        counts[ending] = outcomes(path.read_bytes(), look, source)
    assert all(count > 0.2 * MUTATIONS for count in counts.values())
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    found("mutated arrays", f"{MUTATIONS:,} of each kind; refused {said}; no foreign error")


def test_a_damaged_latest_checkpoint_costs_one_interval(run, caplog):
    place = run / "checkpoints" / str(max(RunFolder(run).checkpoints())) / "state.safetensors"
    weights = (run / "model.safetensors").read_bytes()
    place.write_bytes(flipped(place.read_bytes(), random.Random(3)))
    model, objective = linear_model()
    settings = {"epochs": 2, "batch_size": 40, "checkpoint_every": 1}
    unveil.train(real_data(), model=model, objective=objective, out=run, resume=True, **settings)
    assert "going back to the checkpoint before" in caplog.text
    assert (run / "model.safetensors").read_bytes() == weights


def test_bytes_are_what_numpy_and_torch_say_they_are(run):
    """The mutations would mean little if what is whole were refused."""
    assert torch.equal(*(unveil.open(run).model.sample(3, seed=1) for _ in range(2)))
    assert json.loads((run / "run.json").read_text())["format"] == 1
    with pytest.raises(DataError):
        idx.parse(b"", "it", 3)
