"""Disks that fill, turn read-only or lose the folder under a training; processes that want the same folder, or must end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

UNVEIL = [sys.executable, "-m", "unveil"]
TRAIN = ["train", "digits", "--epochs", "60", "--model.hidden", "64", "--latent", "2", "--threads", "1"]
OFTEN = [*TRAIN, "--checkpoint-steps", "5", "--validate-every", "5"]


def unveil(*arguments, **more):
    return subprocess.run([*UNVEIL, *map(str, arguments)], capture_output=True, text=True, timeout=300, **more)


def content(path):
    return {name: (path / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert unveil(*OFTEN, "--out", path).returncode == 0
    return path


@pytest.fixture
def disk(tmp_path, whole):
    """A disk on which two checkpoints and a half find room; gives its folder, and a function that mounts it otherwise."""
    place = tmp_path / "disk"
    place.mkdir()
    (checkpoint, *_) = (whole / "checkpoints").iterdir()
    size = 2.5 * sum(file.stat().st_size for file in checkpoint.iterdir())

    def mount(*options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", place], capture_output=True)

    if sys.platform != "linux" or mount(f"size={int(size)}").returncode:
        pytest.skip("full and read-only disks cannot be tried without the right to mount one")
    try:
        yield place, lambda *options: mount("remount", *options)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def refused_in_a_line(stderr):
    """The last line says what to do; no other is an error, and none is a traceback."""
    assert "Traceback" not in stderr
    lines = stderr.strip().splitlines()
    assert lines[-1].startswith("unveil: ")
    assert "; " in lines[-1]
    return lines[-1]


def readable(path):
    steps = sorted(int(place.name) for place in (path / "checkpoints").iterdir())
    code = "import sys; from pathlib import Path; from unveil.store import RunFolder\n"
    code += "[RunFolder(Path(sys.argv[1])).checkpoint(int(step)) for step in sys.argv[2:]]"
    subprocess.run([sys.executable, "-c", code, str(path), *map(str, steps)], check=True)
    return steps


def test_a_disk_that_fills(disk, whole, found):
    place, remount = disk
    done = unveil(*OFTEN, "--out", place / "run")
    assert done.returncode == 2
    said = refused_in_a_line(done.stderr)
    assert "No space left on device" in said
    assert "free some space" in said
    kept = readable(place / "run")
    assert kept
    assert not list((place / "run").rglob("*.tmp"))
    assert not (place / "run" / "lock").exists()
    remount("size=100m")
    assert unveil(*OFTEN, "--out", place / "run", "--resume").returncode == 0
    assert content(place / "run") == content(whole)
    found("a disk that is full", f"exit 2, one line; checkpoints {kept} stayed; resumed with room, the same bytes")


def begun(path, *more):
    """A training in a process of its own that has written its first checkpoint."""
    process = subprocess.Popen(
        [*UNVEIL, *OFTEN, *more, "--out", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    return process


def test_a_disk_that_turns_read_only(disk, whole, found):
    place, remount = disk
    remount("size=100m")
    process = begun(place / "run")
    while remount("ro").returncode:  # busy while a file is open for writing
        time.sleep(0.01)
    said = refused_in_a_line(process.communicate(timeout=60)[1])
    assert process.returncode == 2
    assert "Read-only file system" in said
    remount("rw")
    assert readable(place / "run")
    assert unveil(*OFTEN, "--out", place / "run", "--resume").returncode == 0
    assert content(place / "run") == content(whole)
    found("a disk that turns read-only", "exit 2, one line; resumed once it could be written, the same bytes")


def test_a_folder_that_is_deleted(tmp_path, found):
    process = begun(tmp_path / "run", "--epochs", "4000")
    while (tmp_path / "run").exists():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    said = refused_in_a_line(process.communicate(timeout=60)[1])
    assert process.returncode == 2
    assert "cannot be written" in said
    assert "the folder is gone" in said
    assert not (tmp_path / "run").exists()
    found("a run folder that is deleted", "exit 2, one line")


def test_two_trainings_on_one_folder(tmp_path, found):
    first = begun(tmp_path / "run", "--epochs", "4000")
    second = unveil(*OFTEN, "--epochs", "4000", "--out", tmp_path / "run", "--resume")
    assert second.returncode == 2
    assert f"in use by process {first.pid}" in refused_in_a_line(second.stderr)
    first.kill()
    first.communicate()
    third = begun(tmp_path / "run", "--epochs", "4000", "--resume")
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=60)
    assert third.returncode == 143
    found(
        "two trainings on one folder", "the second exits with 2 and names the first; the lock of a dead one is no hindrance"
    )


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_signals_end_a_training_in_order(tmp_path, found):
    told = []
    for wish, code, times in ((signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 1), (signal.SIGINT, 130, 2)):
        path = tmp_path / f"{wish.name}-{times}"
        process = begun(path, "--epochs", "4000")
        start = time.perf_counter()
        for _ in range(times):
            process.send_signal(wish)
        process.communicate(timeout=60)
        told.append(f"{wish.name} {'twice ' * (times - 1)}{time.perf_counter() - start:.2f} s, exit {process.returncode}")
        assert process.returncode == code
        if times == 1:
            outcome = json.loads((path / "run.json").read_text())["outcome"]
            assert max(readable(path)) == outcome["steps"]  # the very step at which it ended
            assert outcome["stopped_by"] == wish.name
    found("signals", "; ".join(told))
