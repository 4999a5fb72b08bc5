"""The tutorial runs as it stands, with a small budget; its own assertions are its claims."""

import os
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.py"


def test_the_tutorial_runs_and_draws_its_pictures(tmp_path):
    env = {
        **os.environ,
        "UNVEIL_TUTORIAL_OUT": str(tmp_path),
        "UNVEIL_TUTORIAL_EPOCHS": "3",
        "UNVEIL_TUTORIAL_DATA": "digits",
    }
    done = subprocess.run([sys.executable, str(TUTORIAL)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("latent_plane", "manifold", "samples", "means"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1_000
