"""How fast the explorer's page is in a real browser: until it can be used, a decode, a frame while one drags.

    python bench/explorer.py RUN [--data-dir FOLDER]

Frames are the page's own work: from a movement of the mouse to the picture drawn, but for the wait for the screen.
"""

from __future__ import annotations

import argparse
import tempfile
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import unveil
from unveil.explorer import write_page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SYSTEM = "/usr/bin/chromium"
MOVES = 600
LOADS = 5


def opened(browser: Any, path: Path) -> Any:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


def dragged(page: Any) -> None:
    """Drags once around the plane."""
    box = page.locator("#plane-canvas").bounding_box()
    middle, radius = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), 0.35 * box["width"]
    page.mouse.move(middle[0] + radius, middle[1])
    page.mouse.down()
    for step in range(MOVES):
        angle = 6 * pi * step / MOVES
        page.mouse.move(middle[0] + radius * cos(angle), middle[1] + radius * sin(angle))
        page.wait_for_timeout(8)
    page.mouse.up()
    page.wait_for_timeout(300)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("run", type=Path)
    asked.add_argument("--data-dir", type=Path, default=None)
    given = asked.parse_args()
    from playwright.sync_api import sync_playwright

    run = unveil.open(given.run)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        size = write_page(run, path, run.load_data(given.data_dir))
        browser = playwright.chromium.launch(executable_path=SYSTEM if Path(SYSTEM).exists() else None, args=FLAGS)
        ready = []
        for _ in range(LOADS):
            page = opened(browser, path)
            ready.append(page.evaluate("unveilTiming.interactive"))
            page.close()
        page = opened(browser, path)
        dragged(page)
        found = page.evaluate("unveilTiming.summary()")
        print(f"page               {size / 1e6:.2f} MB, Chromium {browser.version}")
        print(f"until interactive  {sorted(ready)[LOADS // 2]:.0f} ms, the median of {LOADS} loads")
        for name in ("decode", "frame"):
            one = found[name]
            print(f"{name:18} median {one['median']:.2f} ms, 95 % within {one['most']:.2f} ms, n = {one['count']}")
        browser.close()


if __name__ == "__main__":
    main()
