"""SIGKILL in the middle of a stream: it goes on where it was, by another number of readers, to the very bytes."""

import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.shards import pixels, tar_folder, write_parquet
from test_kills import KILLS, ends_of

SETTINGS = ("--epochs", "50", "--batch-size", "30", "--validate-every", "20", "--checkpoint-steps", "7")


def command(data, out, workers, *more):
    small = ("--model.hidden", "16", "--latent", "2", "--threads", "1", "--workers", str(workers))
    return [sys.executable, "-m", "unveil", "train", str(data), *SETTINGS, *small, "--out", str(out), *more]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_stream_that_was_killed_ends_as_if_nothing_had_happened(tmp_path, kind):
    data, whole, broken = tmp_path / "shards", tmp_path / "whole", tmp_path / "broken"
    if kind == "tar":
        tar_folder(data, n=600, shards=6)
    else:
        write_parquet(data / "a.parquet", pixels(600), group=50)
    subprocess.run(command(data, whole, 0), check=True, capture_output=True)
    source, steps = random.Random(0), set()
    for kill in range(KILLS // 3):
        process = subprocess.Popen(
            command(data, broken, (2, 1, 4, 0)[kill % 4], "--resume"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert process.stderr is not None
        process.stderr.readline()  # of the first epoch
        time.sleep(source.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        steps |= {place.name for place in (broken / "checkpoints").iterdir()}
    assert len(steps) > KILLS / 10  # it was struck in different places, and got on
    subprocess.run(command(data, broken, 2, "--resume"), check=True, capture_output=True)
    assert ends_of(broken) == ends_of(whole)
    assert not [path for path in broken.rglob("*.tmp")]
