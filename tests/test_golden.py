"""Run folders as every released version left them: they open, mean what they meant, and can be gone on with.

`tests/golden/FORMAT/` holds such a run and `expected.npz`, what it gave then; `python tests/test_golden.py` makes that
of the present format anew, which is right until a version with it is released, and never after.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import unveil
from unveil.store import FORMAT, RunFolder

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
COMMAND = ["train", "digits", "--recipe", "vae", "--epochs", "3", "--model.hidden", "16", "--latent", "2"]
COMMAND += ["--checkpoint-every", "1", "--threads", "1", "--precision", "float32"]


def given(run):
    """What a run gives, in numbers that another machine rounds alike."""
    data = run.load_data()
    with torch.no_grad():
        x = data.test.reading.mean(data.test.values[:5])
        z = run.model.encode(x).mean
        return {"z": z.numpy(), "mean": run.model.decode(z).mean.numpy()}


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    shutil.copytree(GOLDEN / request.param, tmp_path / "run")
    return tmp_path / "run"


def test_there_is_one_of_the_present_format():
    assert str(FORMAT) in FORMATS


def test_a_run_of_every_format_means_what_it_meant(golden):
    run = unveil.open(golden)
    expected = np.load(golden / "expected.npz")
    for name, values in given(run).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)
    assert [record["epoch"] for record in run.metrics()] == [1, 2, 3]
    assert run.contender().values.shape == (180,)


def test_a_run_of_every_format_can_be_gone_on_with(golden):
    """From its next to last checkpoint it takes the last epoch again, and ends near the same weights: machines differ."""
    folder = RunFolder(golden)
    before = folder.model()
    last = max(folder.checkpoints())
    shutil.rmtree(golden / "checkpoints" / str(last))
    done = subprocess.run(
        [sys.executable, "-m", "unveil", *COMMAND, "--out", str(golden), "--resume"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 3/3" in done.stderr
    assert "epoch 1/3" not in done.stderr
    after = folder.model()
    assert all(torch.allclose(after[name], tensor, rtol=1e-2, atol=1e-3) for name, tensor in before.items())


def test_a_format_to_come_is_refused_with_both_versions(golden):
    path = golden / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
    with pytest.raises(unveil.errors.RunError, match=rf"has format {FORMAT + 1}, and this version reads up to {FORMAT}"):
        unveil.open(golden)


if __name__ == "__main__":
    place = GOLDEN / str(FORMAT)
    shutil.rmtree(place, ignore_errors=True)
    for command in ([*COMMAND, "--out", str(place)], ["evaluate", str(place), "--samples", "20"]):
        subprocess.run([sys.executable, "-m", "unveil", *command], check=True)
    shutil.rmtree(place / "pictures")
    np.savez(place / "expected.npz", **given(unveil.open(place)))
