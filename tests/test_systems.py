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
from unveil.training.stop import WISHES, Stop


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


def test_the_byte_that_is_locked_is_none_that_anybody_reads(windows, tmp_path):
    """Windows refuses to read a locked byte, and who is refused reads whose lock it is."""
    with lock.held(tmp_path / "lock"):
        (where,) = (place for _, place in windows)
        assert where > (tmp_path / "lock").stat().st_size > 0


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
    monkeypatch.setattr(hardware, "os", SimpleNamespace(name="nt"))  # which has no sysconf either
    assert hardware.free_memory() == 5 * 2**30


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


@pytest.fixture
def own_signals():
    """Signals that are heard here, and come back whatever a test does."""
    before = {wish: signal.getsignal(wish) for wish in WISHES}
    heard = []
    for wish in WISHES:
        signal.signal(wish, lambda number, frame: heard.append(number))
    yield heard
    for wish, handler in before.items():
        signal.signal(wish, handler)


@pytest.mark.parametrize("wish", WISHES)
def test_signals_are_given_back_when_training_is_over(own_signals, wish):
    before = [signal.getsignal(one) for one in WISHES]
    with Stop() as stop:
        signal.raise_signal(wish)
        assert (stop.wanted, stop.by) == (True, wish.name)
    assert [signal.getsignal(one) for one in WISHES] == before
    with pytest.raises(RuntimeError), Stop():
        raise RuntimeError
    assert [signal.getsignal(one) for one in WISHES] == before
    assert own_signals == []
    signal.raise_signal(wish)
    assert own_signals == [wish]


@pytest.mark.parametrize("several", [False, True])
def test_a_second_signal_ends_at_once(own_signals, several):
    with Stop(several) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.wanted is not several
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert own_signals == []
