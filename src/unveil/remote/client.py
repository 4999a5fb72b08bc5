"""The hub's own client, huggingface_hub: made in one place, where each of its errors becomes a sentence.

It keeps what was downloaded, knows who is logged in, and reads HF_TOKEN, HF_HOME and HF_HUB_OFFLINE by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unveil.errors import HubError, SettingError, UnveilError
from unveil.remote.address import SCHEME, Address
from unveil.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LONGEST = 200
"""Letters of what others say of an error."""


def require() -> None:
    """See that the hub's client is installed.

    Raises:
        SettingError: it is not.
    """
    # read when the package is imported; who asked for telemetry keeps it
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
    except ImportError:
        raise SettingError("the hub needs huggingface_hub, which is not installed; pip install 'unveil[hub]'") from None
    del huggingface_hub


def client(endpoint: str | None = None) -> HfApi:
    """Who asks the hub.

    Args:
        endpoint: the address of a hub; None for $HF_ENDPOINT, else huggingface.co.

    Raises:
        SettingError: the package is missing.
    """
    require()
    from huggingface_hub import HfApi

    address = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return HfApi(address.rstrip("/"), library_name="unveil", library_version=__version__)


@contextmanager
def asking(api: HfApi, address: Address) -> Iterator[None]:
    """Within, the hub is asked about `address`.

    Raises:
        HubError: it does not answer, refuses, or has no such thing.
    """
    try:
        yield
    except UnveilError:
        raise
    except Exception as error:  # of the client, or of whichever library it speaks HTTP by: a dozen types that change
        raise HubError(_told(error, api.endpoint, address)) from None


def _told(error: BaseException, hub: str, address: Address) -> str:
    """What went wrong, and what to do about it."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        error = error.__cause__  # these only say that something did
    repo = address.repo
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is shared on conditions; accept them at {hub}/{repo}, and log in by `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no branch, tag or commit {address.revision!r}; leave it out, or see {hub}/{repo}/commits"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no model {repo} on {hub}, or not for you; mind the spelling, or log in by `hf auth login`"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"{hub} forbids this with {repo} ({status}); log in by `hf auth login` with a token that may do it"
        return f"{hub} answered {status} for {repo}: {_line(error.server_message or error)}; try again later"
    pinned = f"what was opened before needs none by its commit, {SCHEME}{repo}@COMMIT"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{address} is not at hand, and HF_HUB_OFFLINE forbids the network; unset it, or {pinned}"
    if isinstance(error, ValueError | LookupError | TypeError):
        return f"{hub} does not answer as a hub does ({_line(error)}); see what HF_ENDPOINT says"
    return f"{hub} cannot be reached ({_line(error)}); see to the network, or {pinned}"


def _line(said: object) -> str:
    """What others say, in one short line."""
    text = " ".join(str(said).split())
    return (text or type(said).__name__)[:LONGEST]
