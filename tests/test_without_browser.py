"""Where there is no browser the tests of pages say so in one loud line, and in CI they fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGES = """
def test_a(browser):
    pass

def test_b(browser):
    pass
"""


@pytest.fixture
def without(tmp_path):
    """Runs two tests of pages on a machine whose browsers cannot start: what pytest gave back."""
    for name in ("conftest.py", "helpers"):
        copy = shutil.copytree if (TESTS / name).is_dir() else shutil.copy
        copy(TESTS / name, tmp_path / name)
    (tmp_path / "test_pages.py").write_text(PAGES)
    browsers = tmp_path / "helpers" / "browsers.py"
    text = browsers.read_text()
    assert 'SYSTEM = ("/usr/bin/chromium"' in text
    browsers.write_text(text.replace("/usr/bin/", "/nowhere/"))

    def run(**more):
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "CI"}
        outside |= {"PLAYWRIGHT_BROWSERS_PATH": str(tmp_path / "none"), "PYTHONPATH": f"{tmp_path}:{_source()}", **more}
        quiet = [sys.executable, "-m", "pytest", "-q", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
        return subprocess.run(quiet, cwd=tmp_path, capture_output=True, text=True, env=outside)

    return run


def _source():
    import unveil

    return Path(unveil.__file__).parents[1]


def test_they_are_skipped_in_one_loud_line(without):
    done = without()
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert len(said) == 1
    assert said[0].startswith("SKIPPED: 2 tests, because: NOT TESTED, for want of a browser: every page (")


def test_in_ci_they_fail(without):
    done = without(CI="true")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the pages are tested in a browser, and there is none" in done.stdout
    assert "SKIPPED" not in done.stdout
