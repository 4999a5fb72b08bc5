"""Addresses of models on the Hugging Face Hub: hf://OWNER/NAME, and hf://OWNER/NAME@REVISION for one state of it.

A revision is a branch, a tag or a commit. A full commit hash says which bytes are meant; anything else may mean others
tomorrow, and is looked up whenever it is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unveil.errors import SettingError

SCHEME = "hf://"
COMMIT = re.compile("[0-9a-f]{40}")
"""A whole commit hash."""
LONGEST = 96
"""Letters of OWNER/NAME."""
_REPO = re.compile(r"\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_REVISION = re.compile(r"\w([\w./-]{0,250}\w)?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """A model on the hub.

    Attributes:
        repo: OWNER/NAME.
        revision: branch, tag or commit; None for the newest.

    Raises:
        SettingError: the hub can have no such names.
    """

    repo: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo) or len(self.repo) > LONGEST or re.search(r"--|\.\.|\.git$", self.repo):
            raise SettingError(f"{self.repo!r} is no model on the hub; write it as OWNER/NAME")
        if self.revision is not None and (not _REVISION.fullmatch(self.revision) or re.search(r"\.\.|//", self.revision)):
            raise SettingError(f"{self.revision!r} is no branch, tag or commit; write {SCHEME}OWNER/NAME@REVISION")

    @classmethod
    def read(cls, text: str | Path) -> Address:
        """What an address means, a `Path` of one included, which has lost a slash.

        Raises:
            SettingError: it is none.
        """
        repo, at, revision = re.sub("^hf:/+", "", str(text)).partition("@")
        return cls(repo, revision if at else None)

    @property
    def commit(self) -> str | None:
        """The commit, where the address itself pins one."""
        return self.revision if self.revision is not None and COMMIT.fullmatch(self.revision) else None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}{'' if self.revision is None else f'@{self.revision}'}"


def is_address(path: str | Path) -> bool:
    """Whether it is meant as an address on the hub, and not as a path."""
    return str(path).startswith("hf:/")
