"""The tutorial is a program: it runs, its own assertions hold, and it leaves the pictures that it speaks of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unveil

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.py"
PICTURES = ("binarisation.png", "latent_plane.png", "manifold.png", "samples.png", "means.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tutorial leaves behind after an epoch on the digits."""
    out = tmp_path_factory.mktemp("tutorial")
    steering = {"OUT": str(out), "EPOCHS": "1", "DATA": "digits"}
    settings = {f"UNVEIL_TUTORIAL_{name}": value for name, value in steering.items()}
    done = subprocess.run(
        [sys.executable, str(TUTORIAL)], cwd=out, env=os.environ | settings, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_show_something(folder: Path, name: str) -> None:
    pixels = np.asarray(Image.open(folder / name).convert("L"))
    assert min(pixels.shape) >= 300
    assert pixels.min() < 64
    assert pixels.max() > 192


def test_run_folder_opens(folder: Path) -> None:
    run = unveil.open(folder / "run-1")
    assert run.manifest["data"]["name"] == "digits"
    assert run.model.sample(2, seed=0).shape == (2, 1, 8, 8)
