"""What is taken of a run folder on the hub: files of a few known names, none larger than it has reason to be.

They are asked for by name at one commit, so that whatever else lies beside them is neither listed nor loaded. They stay in
the hub's own cache, which is read and never written to by us; opened from there their digests are checked as anywhere.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from unveil.errors import HubError, RunError
from unveil.remote.address import COMMIT, Address
from unveil.remote.client import asking, client
from unveil.store.files import LARGEST
from unveil.store.tensors import HEADER
from unveil.words import counted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 10.0
"""Seconds that the hub may take to name a commit."""
MANIFEST, WEIGHTS = "run.json", "model.safetensors"
VALUES = 2**28
"""Bytes of the values of single examples: of five figures and more than six million examples."""
BESIDE = {"report.json": LARGEST, "report.safetensors": VALUES, "metrics.jsonl": LARGEST, "timing.jsonl": LARGEST}
"""What may lie beside manifest and weights, and of how many bytes."""


class Remote:
    """A run folder on the hub, at one commit.

    Args:
        api: who asks.
        address: of the model, with the commit for its revision.
    """

    def __init__(self, api: HfApi, address: Address) -> None:
        self.api, self.address = api, address

    @classmethod
    def find(cls, text: str | Path) -> Remote:
        """The one that an address means now; an address with a commit asks nobody.

        Raises:
            SettingError: it is no address, or huggingface_hub is not installed.
            HubError: the hub does not answer, or has no such model or revision.
        """
        api, address = client(), Address.read(text)
        commit = address.commit
        if commit is None:
            with asking(api, address):
                found = api.model_info(address.repo, revision=address.revision, expand=["sha"], timeout=TIMEOUT)
            commit = str(found.sha)
            if not COMMIT.fullmatch(commit):
                raise HubError(f"{api.endpoint} names no commit for {address}; see what HF_ENDPOINT says")
        return cls(api, Address(address.repo, commit))

    @property
    def name(self) -> str:
        """Its address, by which the very same is opened again."""
        return str(self.address)

    def folder(self) -> Path:
        """Where it is once its manifest is there.

        Raises:
            RunError: it holds none, or one that is far too large.
            HubError: the hub does not answer.
        """
        found = self._file(MANIFEST, LARGEST)
        if found is None:
            raise RunError(f"{self.name} is no run folder: it holds no {MANIFEST}; `unveil push` makes one")
        return found.parent

    def complete(self, most: int) -> None:
        """Bring the rest, with weights of at most `most` bytes, which come last: where they are, all is.

        Raises:
            RunError: it holds none, or a file that is too large.
            HubError: the hub does not answer.
        """
        if self._at_hand(WEIGHTS) is not None:
            return
        for name, limit in BESIDE.items():
            self._file(name, limit)
        if self._file(WEIGHTS, 8 + HEADER + most) is None:
            raise RunError(f"{self.name} is no trained model: it holds no {WEIGHTS}; push a run that has ended")

    def _at_hand(self, name: str) -> Path | None:
        """Where a file is in the cache; None where it is not."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.address.repo, name, revision=self.address.revision)
        return Path(found) if isinstance(found, str) else None

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """The bytes of those files that there are of known names."""
        from huggingface_hub.hf_api import RepoFile

        names = [MANIFEST, WEIGHTS, *BESIDE]
        with asking(self.api, self.address):
            found = self.api.get_paths_info(self.address.repo, names, revision=self.address.revision)
            return {one.path: int(one.size) for one in found if isinstance(one, RepoFile)}

    def _file(self, name: str, most: int) -> Path | None:
        """Where a file is, which is downloaded if need be; None where there is none."""
        if (found := self._at_hand(name)) is not None:
            return found
        size = self._sizes.get(name)
        if size is None:
            return None
        if size > most:
            raise RunError(f"{self.name} is damaged: its {name} has {counted(size, 'byte')}, and may have {most:,}")
        with asking(self.api, self.address):
            path = Path(self.api.hf_hub_download(self.address.repo, name, revision=self.address.revision))
        if path.parent.name != self.address.revision:
            raise HubError(f"{self.api.endpoint} gives {name} of another commit for {self.name}; see what HF_ENDPOINT says")
        return path
