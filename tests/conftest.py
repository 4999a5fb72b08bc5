"""Data that many tests share, and a seed."""

import os
from collections import Counter

# the models here are tiny: a second thread has nothing to do, and where the machine is shared it makes the first one wait
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

import unveil
from unveil.data import Dataset, from_arrays
from unveil.errors import DataError


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """The real thing; tests that need it are skipped where it is missing."""
    try:
        return unveil.load("mnist")
    except DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return unveil.load("digits")


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """300 gray images of odd size, in two classes that look different."""
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (300,), generator=source)
    images = torch.randint(0, 256, (300, 1, 6, 5), generator=source)
    images[labels == 1, :, :3] = 255
    return from_arrays(images.to(torch.uint8), labels, name="tiny")


@pytest.fixture
def seeded() -> None:
    """Torch's default generator begins each test anew."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def browser():
    """One for the tests of a file, closed behind them: while Playwright is open, its event loop runs in this thread, and
    nothing else in the process could call `asyncio.run`.
    """
    from helpers.browsers import opened_browser

    yield from opened_browser()


def pytest_addoption(parser):
    parser.addoption("--write", action="store_true", help="write what the torture found into docs/reliability.md")


def pytest_collection_modifyitems(items):
    """The torture first: its files take longest, and what begins last on one core has the other wait."""
    items.sort(key=lambda item: "torture" not in item.path.parts)


def pytest_terminal_summary(terminalreporter):
    """Say what was skipped and why, loudly: a machine that may not mount, say, has tested less than another."""
    why = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", []))
    for reason, count in why.items():
        terminalreporter.write_line(f"SKIPPED: {count} test{'s' * (count > 1)}, because: {reason}", red=True, bold=True)
