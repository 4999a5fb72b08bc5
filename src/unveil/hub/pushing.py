"""The way of a run to the Hugging Face Hub: one commit, made of what leaves and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unveil.errors import SettingError
from unveil.hub.leaving import EVER, leaving
from unveil.remote import Address, asking, client
from unveil.run import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
"""The branch that a new repository has."""


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        address: hf://OWNER/NAME@COMMIT, by which it is opened.
        page: of the model on the hub.
        commit: that the hub gave.
        files: the bytes of each file.
        of_data: what of the data left with them, in words; empty for nothing of single examples.
    """

    address: str
    page: str
    commit: str
    files: dict[str, int]
    of_data: tuple[str, ...]


def push(
    run: Run,
    repo: str,
    *,
    private: bool = False,
    data: bool = True,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    endpoint: str | None = None,
) -> Pushed:
    """Put a run on the hub: manifest, weights, report, records, a few pictures and a model card, in one commit.

        push(run, "ada/digits", private=True)

    Nothing executable goes, no checkpoint, and no path of this machine. Files of an earlier push that are not among these
    are removed; whatever else is there stays.

    Args:
        run: in a folder, with the weights that are there.
        repo: OWNER/NAME, which is made where there is none.
        private: only for whom its owner lets in.
        data: whether pictures of examples, values of single examples, and weights that are made of some may go.
        revision: a branch, which is made where there is none; None for the main one.
        message: of the commit.
        license: under which the model is passed on, as the hub calls it: 'apache-2.0'.
        endpoint: the address of a hub; None for $HF_ENDPOINT, else huggingface.co.

    Raises:
        SettingError: huggingface_hub is missing, nobody is logged in, or what is asked for cannot be.
        RunError: the run has no folder, is unfinished, or has other weights than its folder.
        HubError: the hub does not answer, or refuses.
    """
    address = Address(repo, revision)
    if address.commit is not None:
        raise SettingError(f"{revision} is a commit, which cannot change; name a branch, or none")
    api = client(endpoint)
    _require_token()
    made = leaving(run, repo, data, license)
    with asking(api, address):
        page = str(api.create_repo(repo, private=private or None, repo_type="model", exist_ok=True))
        hidden = not private or api.model_info(repo, expand=["private"]).private
    if not hidden:
        raise SettingError(f"{repo} is there, and public; make it private at {page}, or name another")
    with asking(api, address):
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = _commit(api, address, made.files, message or f"Push {made.title}")
    sizes = {name: len(one) if isinstance(one, bytes) else one.stat().st_size for name, one in made.files.items()}
    return Pushed(str(Address(repo, commit)), page, commit, sizes, made.of_data)


def _require_token() -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise SettingError("pushing needs somebody whom the hub knows; log in by `hf auth login`, or set HF_TOKEN")


def _commit(api: HfApi, address: Address, files: dict[str, bytes | Path], message: str) -> str:
    """The commit that has these files, and none that an earlier push left besides."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    branch = address.revision or MAIN
    before = {one.path for one in api.get_paths_info(address.repo, list(EVER), revision=branch)}
    gone = [CommitOperationDelete(name) for name in sorted(before - set(files))]
    added = [CommitOperationAdd(name, one) for name, one in files.items()]
    return str(api.create_commit(address.repo, [*gone, *added], commit_message=message, revision=branch).oid)
