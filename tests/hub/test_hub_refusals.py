"""What comes from strangers is refused, and each thing that does not work is told in one sentence."""

import json
import socket
import sys
from pathlib import Path

import pytest

import unveil
from unveil.cli import main
from unveil.errors import HubError, RunError, SettingError
from unveil.remote import Address

PIXELS = "ada/pixels"


def test_only_files_of_known_names_are_ever_asked_for(hub, files, tmp_path):
    bad = {"model.pkl": b"\x80\x04.", "evil.py": b"raise SystemExit", "checkpoints/1/state.safetensors": b"", "lock": b""}
    hub.put(PIXELS, {**files, **bad})
    unveil.open(f"hf://{PIXELS}")
    assert not any(name in path for _, path in hub.asked for name in bad)
    kept = {path.name for path in (tmp_path / "cache").rglob("*")}
    assert kept >= set(files)
    assert not kept & {"model.pkl", "evil.py", "checkpoints", "lock"}


@pytest.mark.parametrize(
    ("change", "size", "said"),
    [
        ({}, {"run.json": 10**12}, "its run.json has 1,000,000,000,000 bytes, and may have"),
        ({}, {"report.json": 10**9}, "its report.json has"),
        ({}, {"model.safetensors": 10**9}, "its model.safetensors has 1,000,000,000 bytes, and may have"),
        ({"run.json": b"../../../etc/passwd"}, {}, "it holds no JSON"),
        ({"run.json": b"[" * 100_000}, {}, "it holds no JSON"),
        ({"run.json": None}, {}, "is no run folder: it holds no run.json"),
        ({"model.safetensors": None, "model.pkl": b"\x80\x04."}, {}, "holds no model.safetensors"),
        ({"model.safetensors": b"\x80\x04." + bytes(100)}, {}, "is damaged"),
    ],
)
def test_hostile_repositories_are_refused(hub, files, tmp_path, change, size, said):
    hub.put(PIXELS, {name: content for name, content in {**files, **change}.items() if content is not None})
    hub.sizes = size
    with pytest.raises(RunError, match=said) as found:
        unveil.open(f"hf://{PIXELS}")
    assert "\n" not in str(found.value)
    assert not {path.name for path in (tmp_path / "cache").rglob("*")} & set(size)


def test_a_changed_byte_is_noticed(hub, files):
    weights = bytearray(files["model.safetensors"])
    weights[-1] ^= 1
    hub.put(PIXELS, {**files, "model.safetensors": bytes(weights)})
    with pytest.raises(RunError, match="SHA-256"):
        unveil.open(f"hf://{PIXELS}")


def test_a_hub_that_gives_another_commit_than_it_was_asked_for_is_refused(hub, files):
    commit = hub.put(PIXELS, files)
    hub.commit = "0" * 40
    with pytest.raises(HubError, match=f"gives run.json of another commit for hf://{PIXELS}@{commit}"):
        unveil.open(f"hf://{PIXELS}@{commit}")
    hub.commit = "../../elsewhere"
    with pytest.raises(HubError, match="names no commit for"):
        unveil.open(f"hf://{PIXELS}")


def test_a_stranger_names_no_place_on_this_machine(hub, files):
    manifest = json.loads(files["run.json"])
    manifest["data"] |= {"name": "/etc/passwd", "options": {"validation": "/root/x.npy"}}
    hub.put(PIXELS, {**files, "run.json": json.dumps(manifest).encode()})
    data = unveil.open(f"hf://{PIXELS}").manifest["data"]
    assert (data["name"], data["options"]) == ("passwd", {"validation": "x.npy"})


def refused(capsys, *arguments):
    """The one line by which a command refuses."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("unveil: ")
    assert said.count("\n") == 1, said
    return said


def closed():
    """The address of a port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def test_each_error_is_a_sentence(hub, trained, monkeypatch, capsys):
    hub.put(PIXELS, {"run.json": b"{}"})
    hub.put("ada/gated", {}, gated=True)
    assert "there is no model ada/pixel on" in refused(capsys, "sample", "hf://ada/pixel")
    assert "has no branch, tag or commit 'v9'" in refused(capsys, "sample", f"hf://{PIXELS}@v9")
    assert "has no branch, tag or commit '0000" in refused(capsys, "sample", f"hf://{PIXELS}@{'0' * 40}")
    assert "is shared on conditions; accept them at" in refused(capsys, "sample", "hf://ada/gated")
    assert "forbids this with bob/x (403); log in" in refused(capsys, "push", trained.path, "bob/x")
    monkeypatch.delenv("HF_TOKEN")
    assert "log in by `hf auth login`, or set HF_TOKEN" in refused(capsys, "push", trained.path, PIXELS)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    assert "forbids this with ada/new (401)" in refused(capsys, "push", trained.path, "ada/new")
    hub.fails = 500
    assert "answered 500 for ada/pixels" in refused(capsys, "sample", f"hf://{PIXELS}")
    monkeypatch.setenv("HF_ENDPOINT", closed())
    line = refused(capsys, "sample", f"hf://{PIXELS}")
    assert "cannot be reached" in line
    assert f"hf://{PIXELS}@COMMIT" in line
    assert "cannot be reached" in refused(capsys, "push", trained.path, PIXELS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids the network" in refused(capsys, "sample", f"hf://{PIXELS}")


def test_without_the_client_it_says_what_to_install(monkeypatch, trained, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for arguments in (("sample", f"hf://{PIXELS}"), ("push", trained.path, PIXELS)):
        assert "pip install 'unveil[hub]'" in refused(capsys, *arguments)


@pytest.mark.parametrize("said", ["", "ada", "ada/x/y", "../x", "ada/x@", "ada/x@../../etc", "ada/x--y", "ada/x y"])
def test_what_is_no_address_is_refused(said):
    with pytest.raises(SettingError, match=r"write it as OWNER/NAME|is no branch, tag or commit"):
        unveil.open(f"hf://{said}")


def test_an_address_may_come_as_a_path():
    assert Address.read(Path("hf://ada/x@v1.0/a")) == Address("ada/x", "v1.0/a")
