"""What a machine cannot test it says at the end, however quiet pytest is and however many processes it has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.fixture
def disk():
    pytest.skip("no disk of its own may be mounted here")

def test_a(disk):
    pass

def test_b(disk):
    pass

@pytest.mark.skipif(True, reason="there is no browser")
def test_c():
    pass

def test_d():
    pass
"""


@pytest.mark.parametrize("more", [[], ["-n", "2"]])
def test_every_skip_is_told_with_its_reason(tmp_path, more):
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    quiet = [sys.executable, "-m", "pytest", "-q", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *more, "."]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(quiet, cwd=tmp_path, capture_output=True, text=True, env=outside)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert sorted(said) == [
        "SKIPPED: 1 test, because: there is no browser",
        "SKIPPED: 2 tests, because: no disk of its own may be mounted here",
    ]
