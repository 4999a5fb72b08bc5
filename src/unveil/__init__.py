"""Unveil: variational autoencoders whose every number is a stated figure in nats.

    data = unveil.load("mnist")
    run = unveil.train(data, recipe="mnist-2d")
    images = run.model.sample(64)

Names are imported when they are first used: importing torch costs a second, and `unveil --help` should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unveil.version import __version__

if TYPE_CHECKING:
    from unveil.data import load as load
    from unveil.export import load_bundle as load_bundle
    from unveil.launch import train as train
    from unveil.opening import open as open
    from unveil.opening import pretrained as pretrained
    from unveil.run import Run as Run
    from unveil.tuning import tune as tune

_HOMES = {
    "load": "unveil.data",
    "load_bundle": "unveil.export",
    "train": "unveil.launch",
    "open": "unveil.opening",
    "pretrained": "unveil.opening",
    "Run": "unveil.run",
    "tune": "unveil.tuning",
}

__all__ = ["Run", "__version__", "load", "load_bundle", "open", "pretrained", "train", "tune"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unveil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
