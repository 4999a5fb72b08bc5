"""docs/extending.md: every block runs, in its order, and none is longer than it says."""

import re
from pathlib import Path

import pytest

from unveil.recipes import RECIPES

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = set(RECIPES)
    try:
        exec("\n".join(BLOCKS), {"__name__": "extending"})
        assert set(RECIPES) - known == {"absolute-vae"}
    finally:
        RECIPES.pop("absolute-vae", None)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:30])
def test_no_part_is_longer_than_thirty_lines(block):
    assert len([line for line in block.splitlines() if line.strip()]) < 30
