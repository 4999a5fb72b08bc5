"""What a page shows of a run, as plain data, and the still page itself."""

from unveil.pages.facts import Facts, facts

__all__ = ["Facts", "facts"]
