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
    there = " or ".join(_devices())
    try:
        device = torch.device(name)
    except RuntimeError:  # which lists all kinds that PyTorch has a name for
        raise SettingError(f"there is no device {name!r}; use {there}") from None
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise SettingError(f"there is no device {name!r} on this machine ({reason}); use {there}") from None
    return device


def _devices() -> list[str]:
    """The kinds of device that this machine has."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, there in found.items() if there)]


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
