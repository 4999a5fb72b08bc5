"""What is pushed is opened again, to the bit and by its commit, and nothing else leaves or is written."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.hub import TOKEN
from helpers.runs import SMALL

import unveil
from unveil.cli import main
from unveil.errors import HubError, RunError, SettingError
from unveil.hub import push
from unveil.recipes import RECIPES

PIXELS = "ada/pixels"
SECRET = "a place that is private"
PRIVATE = {"report.safetensors", "pictures/reconstructions.png"}
RECORDS = {"run.json", "model.safetensors", "report.json", "metrics.jsonl", "timing.jsonl"}
ALWAYS = {*RECORDS, "README.md", "pictures/samples.png"}


def cached(tmp_path):
    return {str(path.relative_to(tmp_path)): path.lstat().st_mtime_ns for path in sorted((tmp_path / "cache").rglob("*"))}


def test_what_is_pushed_is_opened_again(hub, trained):
    pushed = push(trained, PIXELS)
    assert set(hub.head(PIXELS)) == {".gitattributes", *ALWAYS, *PRIVATE}
    assert pushed.commit == hub.repos[PIXELS].refs["main"]
    assert pushed.page == f"{hub.address}/{PIXELS}"
    run = unveil.open(f"hf://{PIXELS}")
    assert run.name == pushed.address == f"hf://{PIXELS}@{pushed.commit}"
    assert torch.equal(run.sample(8, seed=1), trained.sample(8, seed=1))
    assert run.report().nll == trained.report().nll
    assert run.contender().values.tolist() == trained.contender().values.tolist()
    assert run.metrics() == trained.metrics()
    assert run.timing() == trained.timing()
    assert (run.path / "model.safetensors").read_bytes() == (trained.path / "model.safetensors").read_bytes()


def test_an_address_with_a_commit_means_the_same_bytes_for_ever_and_asks_nobody(hub, trained, other):
    first = push(trained, PIXELS)
    before = unveil.open(first.address).sample(4, seed=0)
    second = push(other, PIXELS)
    assert first.commit != second.commit
    newest = unveil.open(f"hf://{PIXELS}")
    assert newest.name == second.address
    assert not torch.equal(newest.sample(4, seed=0), before)
    asked = len(hub.asked)
    assert torch.equal(unveil.open(first.address).sample(4, seed=0), before)
    assert len(hub.asked) == asked
    with pytest.raises(RunError, match="came without a report"):
        newest.report()


def test_nothing_that_leaves_says_where_anything_lies(hub, trained):
    assert SECRET in (trained.path / "run.json").read_text()
    assert SECRET in (trained.path / "report.json").read_text()
    push(trained, PIXELS)
    for name, content in hub.head(PIXELS).items():
        assert SECRET.encode() not in content, name
        assert b"/tmp" not in content, name
    run = unveil.open(f"hf://{PIXELS}")
    assert run.manifest["data"]["name"] == "pixels.npy"
    assert run.manifest["data"]["fingerprint"] == trained.manifest["data"]["fingerprint"]


def test_pages_name_held_out_files_without_their_folders(trained):
    from unveil.pages import facts

    options = {**trained.manifest["data"]["options"], "validation": f"/home/{SECRET}/held.npy"}
    data = {**trained.manifest["data"], "options": options}
    found = str(facts(replace(trained, manifest={**trained.manifest, "data": data})).as_dict())
    assert "held.npy" in found
    assert SECRET not in found


def test_without_data_nothing_of_single_examples_leaves(hub, trained):
    pushed = push(trained, PIXELS, data=False)
    assert set(hub.head(PIXELS)) == {".gitattributes", *ALWAYS}
    assert pushed.of_data == ()
    assert "no picture shows one" in hub.head(PIXELS)["README.md"].decode()
    run = unveil.open(f"hf://{PIXELS}")
    report = run.report()
    assert report.nll == trained.report().nll
    assert report.values == {}
    assert str(report.nll) in str(report)
    with pytest.raises(RunError, match="came without the values of single examples"):
        run.contender()


def test_data_that_leave_are_named(hub, trained):
    pushed = push(trained, PIXELS)
    card = hub.head(PIXELS)["README.md"].decode()
    for said in ("pictures of examples (reconstructions)", "report.safetensors"):
        assert said in "; ".join(pushed.of_data)
        assert said in card


def test_a_prior_made_of_examples_stays_at_home(hub, tiny, tmp_path):
    recipe = replace(RECIPES["vamp"].given(latent=2, hidden=(16,), pseudo_inputs=4), training=SMALL.training)
    run = unveil.train(tiny, recipe, out=tmp_path / "run", epochs=1)
    with pytest.raises(SettingError, match=r"made of pseudo-inputs.*, which its weights hold; leave --no-data out"):
        push(run, PIXELS, data=False)
    assert PIXELS not in hub.repos
    assert "pseudo-inputs" in push(run, PIXELS).of_data[0]


def test_a_push_leaves_nothing_of_the_one_before_and_all_that_is_others(hub, trained):
    push(trained, PIXELS)
    hub.repos[PIXELS].commit({**hub.head(PIXELS), "LICENSE": b"mine"})
    push(trained, PIXELS, data=False, message="again, without")
    assert set(hub.head(PIXELS)) == {".gitattributes", "LICENSE", *ALWAYS}
    assert hub.repos[PIXELS].messages[-1] == "again, without"


def test_a_branch_of_its_own(hub, trained, other):
    push(trained, PIXELS)
    main_before = hub.repos[PIXELS].refs["main"]
    pushed = push(other, PIXELS, revision="trial")
    assert hub.repos[PIXELS].refs["main"] == main_before
    assert unveil.open(f"hf://{PIXELS}@trial").name == pushed.address


def test_private_is_private_or_refused(hub, trained, monkeypatch):
    push(trained, "ada/hidden", private=True)
    assert hub.repos["ada/hidden"].private
    assert unveil.open("hf://ada/hidden").name.startswith("hf://ada/hidden@")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="not for you"):
        unveil.open("hf://ada/hidden")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.put(PIXELS, {"mine.txt": b""})
    with pytest.raises(SettingError, match="is there, and public"):
        push(trained, PIXELS, private=True)
    assert set(hub.head(PIXELS)) == {"mine.txt"}


def test_nothing_is_written_where_the_hub_keeps_its_files(hub, trained, tmp_path):
    push(trained, PIXELS)
    run = unveil.open(f"hf://{PIXELS}")
    before = cached(tmp_path)
    found = run.evaluate(trained.load_data(), samples=2, images=5)
    assert found.kept is None
    assert cached(tmp_path) == before
    assert run.path == tmp_path / "cache" / "models--ada--pixels" / "snapshots" / run.name.rpartition("@")[2]


def test_runs_whose_weights_are_not_what_the_folder_says_are_not_pushed(hub, trained, tmp_path):
    run = unveil.open(trained.path)
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    with pytest.raises(RunError, match="are not those in"):
        push(run, PIXELS)
    with pytest.raises(RunError, match="without a folder"):
        push(replace(run, path=None), PIXELS)
    with pytest.raises(RunError, match="is unfinished"):
        push(replace(run, manifest={**run.manifest, "status": "training"}), PIXELS)
    assert hub.repos == {}


def test_a_model_that_comes_along_can_be_passed_on(hub):
    push(unveil.pretrained("mnist-2d"), "ada/mnist-2d", data=False)
    run = unveil.open("hf://ada/mnist-2d")
    assert f"{run.report().sections['quadrature'].nll.pair()} nats" in str(run.report())
    assert torch.equal(run.sample(4, seed=0), unveil.pretrained("mnist-2d").sample(4, seed=0))
    assert "CC BY-SA 3.0" in hub.head("ada/mnist-2d")["README.md"].decode()


def test_commands_push_and_take_addresses(hub, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["push", str(trained.path), PIXELS]) == 0
    said, bars = capsys.readouterr()
    assert bars == ""
    commit = hub.repos[PIXELS].refs["main"]
    assert f"in {hub.address}/{PIXELS}, commit {commit}" in said
    assert "of the data went with them: pictures of examples" in said
    assert f"sample hf://{PIXELS}@{commit} -n 16" in said
    assert main(["sample", f"hf://{PIXELS}", "-n", "3", "--seed", "0", "--out", "x.npy"]) == 0
    assert np.array_equal(np.load("x.npy"), trained.sample(3, seed=0).numpy())
    monkeypatch.setattr("unveil.cli.checks._of_run", lambda run, given: [print(f"looked at {run.name}")][:0])
    assert main(["doctor", f"hf://{PIXELS}"]) == 0
    assert f"looked at hf://{PIXELS}@{commit}" in capsys.readouterr().out
    assert main(["push", str(trained.path), PIXELS, "--no-data"]) == 0
    assert "of the data" not in capsys.readouterr().out
    assert main(["compare", f"hf://{PIXELS}@{commit}", str(trained.path)]) == 0


def test_nothing_but_the_run_is_asked_for(hub, files, tmp_path):
    hub.put(PIXELS, files)
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.address, "NO_PROXY": "*"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | home
    command = [sys.executable, "-m", "unveil", "sample", f"hf://{PIXELS}", "-n", "2", "--out", "x.npy"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    known = (f"/api/models/{PIXELS}", f"/{PIXELS}/resolve/", "/get/")
    assert [path for _, path in hub.asked if not path.startswith(known)] == []
    assert np.load(tmp_path / "x.npy").shape == (2, 1, 28, 28)
