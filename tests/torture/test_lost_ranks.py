"""Processes that train together, killed, stopped and held: the job ends soon, says who it was, and goes on exactly."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ranks

SETTINGS = ("--epochs", "40", "--validate-every", "10", "--checkpoint-steps", "37", "--model.hidden", "16", "--latent", "2")
SOON = 30
"""Seconds after which a job without one of its processes is taken to hang: the rest would wait for it ten minutes."""


def command(out, *more):
    return ["-m", "unveil", "train", "digits", "--recipe", "vae", *SETTINGS, "--threads", "1", "--out", str(out), *more]


def launched(out, *more, restarts=0):
    """The command under torchrun in two processes, and these by rank, once they train; and where to read what is said."""
    said = out.parent / f"{out.name}.{len(list(out.parent.iterdir()))}.err"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    with said.open("w") as file:
        agent = subprocess.Popen(
            [*torchrun, *command(out, *more)], stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
        )
    while "epoch " not in said.read_text() and agent.poll() is None:
        time.sleep(0.02)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    return agent, {int(environment(child)["RANK"]): int(child) for child in children}, said


def environment(process):
    pairs = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def ends_of(path):
    """What must be the same to the byte: weights, records, and all that training would go on from."""
    last = max((path / "checkpoints").iterdir(), key=lambda place: int(place.name))
    files = (path / "model.safetensors", path / "metrics.jsonl", last / "state.safetensors")
    return {file.name: file.read_bytes() for file in files} | {"step": last.name}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finding the processes needs /proc")
def test_stopped_and_killed_a_job_ends_soon_with_a_line_and_goes_on_exactly(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "run"
    subprocess.run([sys.executable, *command(whole, "--accumulate", "2")], check=True, capture_output=True)
    agent, _, said = launched(out)
    agent.terminate()
    assert agent.wait(60) != 0  # torchrun's own code: of its processes each ends with 143
    told = json.loads((out / "run.json").read_text())
    assert (told["status"], told["outcome"]["stopped_by"], told["ranks"]) == ("interrupted", "SIGTERM", 2)
    assert (out / "checkpoints" / str(told["outcome"]["steps"])).is_dir()
    assert said.read_text().count(f"stopped after {told['outcome']['steps']} steps; what was trained so far is saved") == 1
    agent, workers, said = launched(out, "--resume")
    os.kill(workers[0], signal.SIGKILL)
    assert agent.wait(SOON) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers.values())
    assert [named(0, workers)] == ours(said)
    agent, workers, said = launched(out, "--resume", restarts=1)
    os.kill(workers[1], signal.SIGKILL)
    assert agent.wait(120) == 0  # torchrun started both anew
    assert [named(1, workers)] == ours(said)
    assert ends_of(out) == ends_of(whole)


def ours(said):
    """The lines that are not torchrun's."""
    return [line.split(")")[0] for line in said.read_text().splitlines() if line.startswith("unveil: ")]


def named(rank, workers):
    """How a line begins that names a rank."""
    return f"unveil: rank {rank} (process {workers[rank]} on {socket.gethostname()}"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
def test_who_does_not_answer_is_named_when_the_time_is_up(tmp_path):
    out = tmp_path / "run"
    first, second = ranks.pair([sys.executable, *command(out, "--timeout", "2", "--epochs", "100000")])
    while not (out / "checkpoints").is_dir() and first.poll() is None:
        time.sleep(0.05)
    second.send_signal(signal.SIGSTOP)
    try:
        _, said = first.communicate(timeout=60)
    finally:
        second.kill()
        second.communicate()
    assert first.returncode == 2
    lines = [line for line in said.splitlines() if not line.startswith("epoch ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"unveil: rank 1 (process {second.pid} on ")
