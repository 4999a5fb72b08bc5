"""What tests of pages in a browser do alike."""

from time import monotonic

PATIENCE = 20  # seconds that a page may take for what it is waited for


def until(page, expression):
    """Waits until an expression of the page is true. Playwright's own waiting evaluates text, which the page forbids."""
    end = monotonic() + PATIENCE
    while not (found := page.evaluate(expression)):
        assert monotonic() < end, f"the page never came to {expression}"
        page.wait_for_timeout(25)
    return found
