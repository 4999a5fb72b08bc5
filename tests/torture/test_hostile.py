"""Run folders made to do harm: refused in a sentence, at once, without memory, and with nothing written anywhere."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.runs import linear_model, real_data

import unveil
from unveil.store import RunFolder

MOST = 64 * 2**20
"""Bytes above those of an idle process."""
OPEN = """
import json, os, resource, sys, time
import torch, unveil, unveil.run
from unveil.errors import UnveilError
from unveil.store import RunFolder
unveil.open(sys.argv[1])  # what idle means: everything is loaded
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    if os.fork():
        os.wait()
        continue
    os.chdir(os.path.dirname(path))
    before, start, said = peak(), time.perf_counter(), None
    try:
        run = unveil.open(path)
        run.metrics()
        folder = RunFolder(run.path)
        [folder.checkpoint(step) for step in folder.checkpoints()]
    except UnveilError as error:
        said = str(error)
    print(json.dumps([time.perf_counter() - start, peak() - before, said]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    model, objective = linear_model()
    out = tmp_path_factory.mktemp("clean") / "run"
    return unveil.train(real_data(), model=model, objective=objective, out=out, epochs=1, checkpoint_every=1).path


def manifest(path, **changed):
    folder = RunFolder(path)
    folder.write_manifest({**folder.manifest(), **changed})


def weights(path, content, size=None):
    """Other bytes in the place of the weights, with the digest that they have."""
    place = path / "model.safetensors"
    place.write_bytes(content)
    if size is not None:
        os.truncate(place, size)
    digest = hashlib.sha256(place.read_bytes()).hexdigest() if size is None else "0" * 64
    manifest(path, tensors={"model.safetensors": digest})


def safetensors_of(header, data=b"", stated=None):
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(said) if stated is None else stated).to_bytes(8, "little") + said + data


def entry(start, end, shape=(1,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}


class Payload:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def layers(path, hidden):
    spec = RunFolder(path).manifest()["spec"]
    for part in spec["parts"]:
        if part["type"] == "Mlp":
            part["arguments"]["hidden"] = hidden
    manifest(path, spec=spec)


def fifo(path):
    (path / "run.json").unlink()
    os.mkfifo(path / "run.json")


def loop(path):
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to("model.safetensors")


def endless(path):
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to("/dev/zero")


def metrics(path):
    with (path / "metrics.jsonl").open("wb") as file:
        file.write(b"[" * 2**22 + b"\n")


def checkpoint(path):
    place = path / "checkpoints" / "7"
    place.mkdir()
    (place / "state.json").write_text('{"sha256": "0", "said": {"tensors": {"../../x": "0"}}}')


ATTACKS = {
    "a header of 2^63 bytes": lambda path: weights(path, safetensors_of({}, stated=2**63)),
    "a header of 32 MiB": lambda path: weights(path, safetensors_of(b"{" + b" " * 2**25 + b"}")),
    "overlapping tensors": lambda path: weights(path, safetensors_of({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4))),
    "bytes that no tensor lists": lambda path: weights(path, safetensors_of({"a": entry(0, 4)}, bytes(400))),
    "a tensor past the end": lambda path: weights(path, safetensors_of({"a": entry(0, 400, (100,))}, bytes(4))),
    "a shape of 2^64 entries": lambda path: weights(path, safetensors_of({"a": entry(0, 4, (2**32, 2**32))}, bytes(4))),
    "a terabyte of nothing": lambda path: weights(path, safetensors_of({"a": entry(0, 2**40, (2**38,))}), 2**40),
    "a gigabyte more than the model has": lambda path: weights(path, safetensors_of({"a": entry(0, 4)}), 2**30),
    "names with paths in them": lambda path: weights(path, safetensors_of({"../../x": entry(0, 4)}, bytes(4))),
    "a pickle": lambda path: weights(path, pickle.dumps(Payload())),
    "torch's own file": lambda path: (torch.save(Payload(), path / "t"), weights(path, (path / "t").read_bytes())),
    "numpy's pickle": lambda path: (
        np.save(path / "t.npy", np.array([Payload()], dtype=object), allow_pickle=True),
        weights(path, (path / "t.npy").read_bytes()),
    ),
    "weights that are a loop of links": loop,
    "weights that never end": endless,
    "a manifest that is a pipe": fifo,
    "a manifest of 64 MiB": lambda path: (path / "run.json").write_bytes(b"[" + b" " * 2**26),
    "a manifest of brackets": lambda path: (path / "run.json").write_bytes(b"[" * 2**20),
    "a manifest of digits": lambda path: (path / "run.json").write_text('{"format": ' + "9" * 10**6 + "}"),
    "a format to come": lambda path: manifest(path, format=10**6),
    "very many layers": lambda path: layers(path, [1] * 10**5),
    "layers without end": lambda path: layers(path, [10**9] * 3),
    "a part that is a function": lambda path: manifest(
        path, spec={"parts": [{"type": "os.system", "arguments": {"command": "touch pwned"}}], "roots": {"model": 0}}
    ),
    "parts within one another": lambda path: manifest(
        path, spec={"parts": [{"type": "Sum", "arguments": {"terms": [{"part": 0}]}}], "roots": {"model": 0}}
    ),
    "records of brackets": metrics,
    "a checkpoint with a path as a name": checkpoint,
}


@pytest.mark.skipif(os.name != "posix", reason="makes pipes and measures memory by getrusage")
def test_hostile_folders_are_refused_at_once_without_memory_and_without_a_trace(clean, tmp_path, found):
    paths = [tmp_path / f"{number}" / "run" for number in range(len(ATTACKS))]
    for path, attack in zip(paths, ATTACKS.values(), strict=True):
        shutil.copytree(clean, path)
        attack(path)
    before = {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")}
    command = [sys.executable, "-c", OPEN, str(clean), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for name, (_, peak, said) in zip(ATTACKS, outcomes, strict=True):
        assert said is not None, f"{name} was taken"
        assert "\n" not in said, name
        assert peak < MOST, f"{name}: {peak:,} bytes"
    assert done.stderr == ""
    assert {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    seconds, peaks, _ = zip(*outcomes, strict=True)
    found(
        "hostile run folders",
        f"{len(ATTACKS)} kinds, refused within {max(seconds):.2f} s and {max(peaks) / 2**20:.0f} MiB above idle; "
        "nothing executed, nothing written",
    )
