"""Builds the site from docs/ and looks at every link of it; any warning is an error.

python docs/site/build.py [--out build/docs] [--fresh]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

from links import faults
from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).parents[2]


def main() -> int:
    """0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    parser.add_argument("--fresh", action="store_true", help="read every page anew")
    given = parser.parse_args()
    start = perf_counter()
    again = ["--fresh-env", "--write-all"] if given.fresh else []
    asked = ["--builder", "html", "--conf-dir", str(ROOT / "docs" / "site"), "--fail-on-warning", "--quiet", *again]
    trees = given.out.with_name(f"{given.out.name}-doctrees")
    code = sphinx([*asked, "--doctree-dir", str(trees), str(ROOT / "docs"), str(given.out)])
    if code:
        return code
    wrong = list(faults(given.out))
    print("\n".join([*wrong, f"{given.out / 'index.html'}: built in {perf_counter() - start:.0f} s"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
