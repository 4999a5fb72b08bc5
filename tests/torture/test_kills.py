"""SIGKILL at seeded instants: a run that was killed again and again ends with the very bytes of one that never was."""

import os
import random
import signal
import subprocess
import sys
import time

KILLS = int(os.environ.get("UNVEIL_KILLS", "10"))
"""In `./run test`; `./run torture` sets 60."""
SETTINGS = ("--epochs", "1000", "--validate-every", "50", "--checkpoint-steps", "37", "--model.hidden", "16")


def command(out, *more):
    train = ["train", "digits", "--recipe", "vae", *SETTINGS, "--latent", "2", "--threads", "1", "--out", str(out)]
    return [sys.executable, "-m", "unveil", *train, *more]


def ends_of(path):
    """What must be the same to the byte: weights, records, and all that training would go on from."""
    last = max((path / "checkpoints").iterdir(), key=lambda place: int(place.name))
    files = (path / "model.safetensors", path / "metrics.jsonl", last / "state.safetensors")
    return {file.name: file.read_bytes() for file in files} | {"step": last.name}


def test_killed_at_any_instant_a_run_ends_as_if_nothing_had_happened(tmp_path, found):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), check=True, capture_output=True)
    source, steps = random.Random(0), set()
    for _ in range(KILLS):
        process = subprocess.Popen(command(broken, "--resume"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stderr is not None
        process.stderr.readline()  # of the first epoch
        time.sleep(source.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        steps |= {place.name for place in (broken / "checkpoints").glob("*")}  # there are none before the first
    assert len(steps) > KILLS / 2  # it was struck in different places, and got on
    subprocess.run(command(broken, "--resume"), check=True, capture_output=True)
    assert ends_of(broken) == ends_of(whole)
    assert not [path for path in broken.rglob("*.tmp")]
    found(
        "SIGKILL at seeded instants of a training in another process",
        f"{KILLS} kills, which left checkpoints of {len(steps)} steps; the last one resumed ended with the same bytes",
    )
