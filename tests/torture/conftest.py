"""What the torture found, as a table at the end, and with `--write` in docs/reliability.md as well."""

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- torture -->", "<!-- end torture -->"
FOUND = pytest.StashKey[dict]()


@pytest.fixture
def found(request):
    """A function of what was tried and of what came of it."""
    return request.config.stash.setdefault(FOUND, {}).__setitem__


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    rows = config.stash.get(FOUND, {})
    if not rows:
        return
    terminalreporter.section("torture")
    for tried, outcome in rows.items():
        terminalreporter.write_line(f"{tried}: {outcome}")
    if config.getoption("--write") and exitstatus == 0:
        table = "\n".join(["| tried | what came of it |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
