"""The system's Chromium, where there is one: tests of pages are skipped without, and in CI they fail."""

import os
from pathlib import Path

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SYSTEM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def without_browser(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"the pages are tested in a browser, and there is none: {reason}")
    pytest.skip(f"NOT TESTED, for want of a browser: every page ({reason})")


def opened_browser():
    """A generator of one browser, which is closed at its end."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        without_browser("playwright is not installed")
    path = next((path for path in SYSTEM if Path(path).exists()), None)
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            without_browser(str(error).splitlines()[0])
        yield opened
        opened.close()
