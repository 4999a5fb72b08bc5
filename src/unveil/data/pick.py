"""Which parts of a source's examples are x and its label, where parts have names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unveil.errors import DataError, option, unknown

IMAGE, LABEL = ("image", "x"), ("label",)
"""Names under which items, and columns of tables, hold x and its class, where nothing else is said."""


@dataclass(frozen=True)
class Pick:
    """What is taken of a source whose examples have parts with names.

    Attributes:
        image_column: the part that is x; without it, 'image' or 'x'.
        label_column: the part that is the class; without it, 'label' where there is one.
    """

    image_column: str | None = None
    label_column: str | None = None

    def options(self) -> dict[str, str]:
        """What was asked for, as options of `unveil.load`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def image(self, names: Mapping[str, Any], where: str) -> str:
        """Which of `names` is x; DataError where none is."""
        found = _first((self.image_column,) if self.image_column else IMAGE, names)
        if found is None and self.image_column:
            raise unknown(f"column of {where}", self.image_column, map(str, names), DataError)
        if found is None:
            had = ", ".join(map(str, names)) or "nothing"
            raise DataError(f"{where} has {had}, and none is called 'image' or 'x'; name one by {option('image_column')}")
        return found

    def label(self, names: Mapping[str, Any], where: str) -> str | None:
        """Which of `names` is the class; None where there is none, DataError where one was asked for that is not there."""
        found = _first((self.label_column,) if self.label_column else LABEL, names)
        if found is None and self.label_column:
            raise unknown(f"column of {where}", self.label_column, map(str, names), DataError)
        return found


ANY = Pick()
"""What is taken where nothing is asked for."""


def _first(wanted: tuple[str, ...], names: Mapping[str, Any]) -> str | None:
    return next((name for name in wanted if name in names), None)
