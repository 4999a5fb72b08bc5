"""Which precision the matrix products of training use, decided from what the machine has, never by timing it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from unveil.errors import SettingError
from unveil.training.config import Precision


def device_for(name: str) -> torch.device:
    """The device of that name.

    Raises:
        SettingError: no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise SettingError(f"there is no device {name!r} on this machine ({reason}); use cpu or cuda") from None
    return device


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 matrix products."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return False


def resolve(wanted: Precision, device: torch.device) -> Precision:
    """'float32' or 'bfloat16': what `wanted` comes to on this device."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if fast_bfloat16(device) else "float32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager:
    """The context in which a forward pass runs in `precision`, 'float32' or 'bfloat16'."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
