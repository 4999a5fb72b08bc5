"""What differs on Windows and macOS, acted out: locks, renames, folders that cannot be flushed, memory, signals."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.runs import linear_model, real_data

import unveil
from unveil import hardware
from unveil.errors import RunError
from unveil.store import files, lock
from unveil.training.stop import Stop


@pytest.fixture
def windows(monkeypatch):
    """Files that are open can be neither removed nor replaced, folders cannot be opened, and locks are msvcrt's."""
    held, real_open = {}, os.open

    def locking(handle, mode, count):
        place = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        owner = held.get(place)
        if owner is not None and owner != handle and _is_open(owner):
            raise PermissionError(13, "Permission denied")
        held[place] = handle

    def opening(path, *more, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *more, **named)

    monkeypatch.setattr(files, "POSIX", False)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setitem(sys.modules, "fcntl", None)  # whose import then fails
    return held


def _is_open(handle):
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def test_a_training_on_windows_is_saved_resumed_and_opened(windows, tmp_path):
    def trained(out, **more):
        model, objective = linear_model()
        return unveil.train(real_data(), model=model, objective=objective, out=out, epochs=2, checkpoint_every=1, **more)

    whole = trained(tmp_path / "run")
    assert windows  # its lock was msvcrt's
    assert (tmp_path / "run" / "lock").exists()  # an open file could not be removed there, and is no hindrance
    again = trained(tmp_path / "run", resume=True)
    assert again.manifest["tensors"] == whole.manifest["tensors"]
    assert torch.equal(unveil.open(tmp_path / "run").model.sample(3, seed=0), whole.model.sample(3, seed=0))


def test_a_lock_on_windows_refuses_a_second_owner(windows, tmp_path):
    with lock.held(tmp_path / "lock"), pytest.raises(RunError, match="is in use by process"), lock.held(tmp_path / "lock"):
        pass
    with lock.held(tmp_path / "lock"):
        pass


def test_a_file_that_a_scanner_holds_for_a_moment_is_replaced_a_moment_later(windows, tmp_path, monkeypatch):
    tries, replace = [], type(tmp_path).replace

    def busy(source, target):
        tries.append(target)
        if len(tries) < 4:
            raise PermissionError(13, "Permission denied")
        return replace(source, target)

    monkeypatch.setattr(type(tmp_path), "replace", busy)
    monkeypatch.setattr(files, "sleep", lambda seconds: None)
    files.write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert len(tries) == 4
    tries[:] = [None] * -files.PATIENCE
    monkeypatch.setattr(type(tmp_path), "replace", lambda source, target: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(RunError, match="make it writable"):
        files.write(tmp_path / "x", b"newer")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_memory_is_told_where_there_is_no_proc(monkeypatch, tmp_path):
    class Nowhere(type(tmp_path)):
        def read_text(self, *more, **named):
            raise FileNotFoundError

    monkeypatch.setattr(hardware, "Path", Nowhere)
    monkeypatch.setattr(hardware, "GROUPS", Nowhere(tmp_path))
    assert hardware.free_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def status(reference):
        numbers = reference._obj
        assert numbers[0] == 64  # the length that Windows wants to be told, beside a load of zero
        numbers[1], numbers[2] = 16 * 2**30, 5 * 2**30
        return 1

    kernel = SimpleNamespace(GlobalMemoryStatusEx=status)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert hardware._windows() == 5 * 2**30


def test_a_stop_outside_the_main_thread_leaves_signals_alone():
    import threading

    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with Stop() as stop:
            seen.append((stop.wanted, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
