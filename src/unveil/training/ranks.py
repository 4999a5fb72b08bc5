"""Which of several processes this one is, and how they find each other.

`torchrun` or whoever starts the processes says so by environment variables; a process without those is alone.
"""

from __future__ import annotations

import atexit
import logging
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from unveil.errors import RunError, SettingError
from unveil.training.team import ALONE, Team

_joined: Team | None = None


def several() -> bool:
    """Whether whoever started this process started more than one."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def joined() -> Team:
    """The team that `join` found; alone before anybody joined."""
    return _joined or ALONE


def join(timeout: float) -> Team:
    """The team that this process was started for; the same one whenever asked. Alone, where nothing says otherwise.

    Args:
        timeout: seconds after which a rank that does not answer is given up.

    Raises:
        SettingError: the environment says it badly, or the others cannot be reached.
    """
    global _joined
    if _joined is None:
        _joined = _join(timeout) if several() else ALONE
        atexit.register(_joined.leave)
    return _joined


def _join(timeout: float) -> Team:
    if dist.is_initialized():
        raise SettingError("torch.distributed was initialised before training began; leave that to unveil.train")
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    where = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    if not 0 <= rank < size:
        raise SettingError(f"RANK is {rank} and WORLD_SIZE {size}; number the processes from 0, or start them by torchrun")
    if "" in where.split(":"):
        raise SettingError("MASTER_ADDR and MASTER_PORT do not say where rank 0 is; set both, or start by torchrun")
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store = next(iter(rendezvous("env://", timeout=timedelta(seconds=timeout))))[0]
        # torchrun keeps its store when it starts processes anew, with all that was said before
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"unveil/{attempt}", store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise RunError(f"rank {rank} cannot reach the others at {where} ({reason}); start all of them anew") from None
    if rank > 0:
        logging.getLogger("unveil").setLevel(logging.CRITICAL)  # rank 0 has the same to say
    return Team(store, rank, size, timeout)


def _number(name: str) -> int:
    said = os.environ.get(name, "")
    if not said.isdecimal():
        raise SettingError(f"the environment variable {name} is {said!r}; set it to a number, or start by torchrun")
    return int(said)


def own_device(name: str) -> str:
    """The device of this rank: of several ranks on one machine each has a GPU of its own."""
    return f"cuda:{_number('LOCAL_RANK')}" if name == "cuda" and several() else name
